import type { Document } from "mongodb";
import { LANES, type Lane } from "../../contracts/alarm.ts";
import { CLUSTER_DATABASE } from "../../domain/routing/collection-catalog.ts";
import type { OutboxHolds } from "../../domain/time/lag.ts";
import type { Cluster } from "../mongo/cluster.ts";

const OUTBOX = "outbox";

/** The rows of a lane behind `after`, oldest first. */
export function rowsBehind(lane: Lane, after = ""): Document {
	return { _id: { $gte: `${lane}:`, $gt: after, $lt: `${lane};` } };
}

/**
 * What waits in a cluster's outbox; one that was never made is empty. Whether anything does is asked of the rows themselves: after a crash
 * MongoDB's own counts are wrong in either direction, and would hide accepted alarms. @throws when the cluster does not answer.
 */
export async function outboxDepth(cluster: Cluster): Promise<OutboxHolds> {
	const [stats, oldestMs] = await Promise.all([
		cluster.read(CLUSTER_DATABASE, { collStats: OUTBOX }),
		oldestIn(cluster),
	]);
	if (oldestMs === null) return { batches: 0, bytes: 0, oldestMs };
	return { batches: Math.max(Number(stats.count), 1), bytes: Number(stats.size), oldestMs };
}

async function oldestIn(cluster: Cluster): Promise<number | null> {
	const firsts = await Promise.all(LANES.map((lane) => firstOf(cluster, lane)));
	const found = firsts.filter((sinceMs) => sinceMs !== null);
	return found.length === 0 ? null : Math.min(...found);
}

async function firstOf(cluster: Cluster, lane: Lane): Promise<number | null> {
	const reply = await cluster.read(CLUSTER_DATABASE, {
		find: OUTBOX,
		filter: rowsBehind(lane),
		sort: { _id: 1 },
		projection: { sinceMs: 1 },
		limit: 1,
		singleBatch: true,
	});
	const [row] = reply.cursor.firstBatch as { sinceMs: number }[];
	return row?.sinceMs ?? null;
}
