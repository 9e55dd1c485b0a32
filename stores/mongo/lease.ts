import type { Document } from "mongodb";
import { CLUSTER_DATABASE } from "../../domain/routing/collection-catalog.ts";
import type { Cluster } from "./cluster.ts";
import { MAJORITY } from "./write-concern.ts";

/**
 * A duty that one process at a time may have. Time is the database's own; the token grows with every new holder, so that what an
 * earlier one still does after its time can be told apart.
 */
export interface Lease {
	token: number;
	/** Of this process's `performance.now()`: counted from before the database was asked, so never too late. */
	untilMs: number;
}

const COLLECTION = "leases";

/** The lease, fresh for `forMs`, if `holder` has it already or nobody has; null while another has it. */
export async function takeLease(cluster: Cluster, lock: string, holder: string, forMs: number): Promise<Lease | null> {
	const askedMs = performance.now();
	const reply = await cluster.command(CLUSTER_DATABASE, {
		findAndModify: COLLECTION,
		query: { _id: lock },
		// Decided inside the update, where the database's own clock can be asked.
		update: [{ $replaceWith: { $cond: [mayTake(holder), taken(holder, forMs), "$$ROOT"] } }],
		upsert: true,
		new: true,
		writeConcern: MAJORITY,
	});
	const held = reply.value as { holder: string; token: number };
	return held.holder === holder ? { token: held.token, untilMs: askedMs + forMs } : null;
}

const IS_OVER = { $lte: [{ $ifNull: ["$until", new Date(0)] }, "$$NOW"] };

function mayTake(holder: string): Document {
	return { $or: [{ $eq: ["$holder", holder] }, IS_OVER] };
}

/** A holder who comes back after its time may have been followed by others: only an unbroken hold keeps its token. */
function taken(holder: string, forMs: number): Document {
	const isUnbroken = { $and: [{ $eq: ["$holder", holder] }, { $not: [IS_OVER] }] };
	const token = { $cond: [isUnbroken, "$token", { $add: [{ $ifNull: ["$token", 0] }, 1] }] };
	return { _id: "$_id", holder, token, until: { $add: ["$$NOW", forMs] } };
}

/** Gives the lease back, so that the next need not wait for its end. */
export async function releaseLease(cluster: Cluster, lock: string, holder: string): Promise<void> {
	await cluster.command(CLUSTER_DATABASE, {
		update: COLLECTION,
		updates: [{ q: { _id: lock, holder }, u: [{ $set: { until: "$$NOW" } }] }],
		writeConcern: MAJORITY,
	});
}
