import type { JetStreamManager } from "nats";
import type { Lane } from "../contracts/alarm.ts";
import { streamOf } from "./lanes.ts";

const OF_SHARD = /\.parked\.(\d+)\./;

/** Batches that are parked, by the shard that could not take them: from the list of subjects, no message is opened. */
export async function parkedPerShard(manager: JetStreamManager, lane: Lane): Promise<Map<number, number>> {
	const { state } = await manager.streams.info(streamOf(lane), { subjects_filter: `alarm.${lane}.parked.>` });
	const parked = new Map<number, number>();
	for (const [subject, batches] of Object.entries(state.subjects ?? {})) {
		const [, shard] = OF_SHARD.exec(subject) ?? [];
		if (shard !== undefined) parked.set(Number(shard), (parked.get(Number(shard)) ?? 0) + batches);
	}
	return parked;
}
