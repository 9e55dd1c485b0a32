import type { JetStreamManager } from "nats";
import type { Lane } from "../contracts/alarm.ts";
import type { Backlog } from "../domain/alarms/low-watermark.ts";
import { shardOfSubject, sinceOfSubject, streamOf } from "./lanes.ts";

/** What a lane's stream still holds: `batches` in all, of which some are parked for a shard. */
export interface LaneBacklog extends Backlog {
	batches: number;
	parked: Map<number, number>;
}

/**
 * Its first message is the oldest publish: a work queue keeps a message until it is acked. What was published later than it was
 * accepted says so in its subject.
 */
export async function backlogOf(manager: JetStreamManager, lane: Lane): Promise<LaneBacklog> {
	const { state } = await manager.streams.info(streamOf(lane), { subjects_filter: `alarm.${lane}.>` });
	const parked = new Map<number, number>();
	const since: number[] = state.messages === 0 ? [] : [Date.parse(state.first_ts)];
	for (const [subject, count] of Object.entries(state.subjects ?? {})) {
		const shard = shardOfSubject(subject);
		if (shard !== null) parked.set(shard, (parked.get(shard) ?? 0) + count);
		since.push(sinceOfSubject(subject) ?? Number.POSITIVE_INFINITY);
	}
	return { batches: state.messages, oldestMs: since.length === 0 ? null : Math.min(...since), parked };
}
