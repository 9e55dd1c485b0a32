import type { JetStreamManager } from "nats";
import type { Lane } from "../contracts/alarm.ts";
import type { Backlog } from "../domain/low-watermark.ts";
import { streamOf } from "./lanes.ts";

/** What a lane's stream still holds. Its first message is the oldest: a work queue keeps a message until it is acked. */
export async function backlogOf(manager: JetStreamManager, lane: Lane): Promise<Backlog & { batches: number }> {
	const { state } = await manager.streams.info(streamOf(lane));
	return { batches: state.messages, oldestMs: state.messages === 0 ? null : Date.parse(state.first_ts) };
}
