import type { RebalancePlan } from "../../contracts/shards.ts";
import { META_CATALOG, META_DATABASE } from "../../domain/routing/collection-catalog.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { MAJORITY } from "../../stores/mongo/write-concern.ts";

/** Plans that were shown of late: whoever confirms one gets the moves that he has seen, whatever the load is by then. */

const COLLECTION = META_CATALOG.plans.kind;
/** Long enough to look, to ask a colleague, and to confirm. */
export const SHOWN_MINUTES = 15;

export async function keepShown({ meta }: Clusters, plan: RebalancePlan, nowMs: number): Promise<void> {
	const past = { at: { $lt: new Date(nowMs - SHOWN_MINUTES * 60_000) } };
	await meta.command(META_DATABASE, {
		delete: COLLECTION,
		deletes: [{ q: past, limit: 0 }],
		writeConcern: MAJORITY,
	});
	if (plan.id === null) return;
	const updates = [{ q: { _id: plan.id }, u: { at: new Date(nowMs), plan }, upsert: true }];
	await meta.command(META_DATABASE, { update: COLLECTION, updates, writeConcern: MAJORITY });
}

/** Null: no such plan was shown of late. */
export async function findShown({ meta }: Clusters, id: string, nowMs: number): Promise<RebalancePlan | null> {
	const filter = { _id: id, at: { $gte: new Date(nowMs - SHOWN_MINUTES * 60_000) } };
	const reply = await meta.read(META_DATABASE, { find: COLLECTION, filter, limit: 1, singleBatch: true });
	const [row] = reply.cursor.firstBatch as { plan: RebalancePlan }[];
	return row?.plan ?? null;
}
