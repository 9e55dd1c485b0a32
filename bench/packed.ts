import { cutBatches, encodeBatch } from "../domain/alarms/batch.ts";
import { freshAlarm, queuedItem } from "./sample.ts";

export interface PackedBatch {
	payload: Uint8Array;
	alarms: number;
}

/** Batches as bulk requests of a thousand make them, or of `most` alarms each. */
export function packedBatches(alarms: number, salt: string, most = 1_000): PackedBatch[] {
	const batches: PackedBatch[] = [];
	for (let at = 0; at < alarms; at += most) {
		const nowMs = Date.now();
		const items = Array.from({ length: Math.min(most, alarms - at) }, (_, own) =>
			queuedItem(freshAlarm(at + own, salt), nowMs),
		);
		for (const batch of cutBatches(items)) batches.push({ payload: encodeBatch(batch), alarms: batch.length });
	}
	return batches;
}
