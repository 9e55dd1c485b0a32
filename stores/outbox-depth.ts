import { CLUSTER_DATABASE } from "../domain/holdings.ts";
import type { OutboxHolds } from "../domain/lag.ts";
import type { Cluster } from "./cluster.ts";

const OUTBOX = "outbox";
/** A row's `_id` begins with its acceptance time in ms, in so many digits. */
const TIME_DIGITS = 15;

/** What waits in a cluster's outbox; one that was never made is empty. @throws when the cluster does not answer. */
export async function outboxDepth(cluster: Cluster): Promise<OutboxHolds> {
	const [stats, oldestMs] = await Promise.all([
		cluster.read(CLUSTER_DATABASE, { collStats: OUTBOX }),
		oldestIn(cluster),
	]);
	return { batches: Number(stats.count), bytes: Number(stats.size), oldestMs };
}

async function oldestIn(cluster: Cluster): Promise<number | null> {
	const reply = await cluster.read(CLUSTER_DATABASE, {
		find: OUTBOX,
		sort: { _id: 1 },
		projection: { _id: 1 },
		limit: 1,
		singleBatch: true,
	});
	const [row] = reply.cursor.firstBatch as { _id: string }[];
	return row === undefined ? null : Number(row._id.slice(0, TIME_DIGITS));
}
