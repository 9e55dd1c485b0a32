import type { Lane } from "../../contracts/alarm.ts";
import { type AlarmId, parseId, showId } from "./ids.ts";
import type { QueuedAlarm } from "./rows.ts";

/**
 * One queue message is one batch: a line per alarm, `<id> <json>\n`. The id stands apart so that an item whose JSON is
 * broken still has its slot, and fails alone.
 */
export const BATCH_BYTES = 512 * 1024;
export const BATCH_ITEMS = 300;
const NEWLINE = 0x0a;

/** One alarm on its way: its line without the newline, and the line's UTF-8 bytes. */
export interface Item {
	id: AlarmId;
	/** The id as callers see it. */
	shown: string;
	line: string;
	bytes: number;
	acceptedAtMs: number;
}

/** A batch on its way to a disk. Its process's epoch and gapless number make its message id. */
export interface PackedBatch {
	lane: Lane;
	epoch: string;
	number: number;
	payload: Uint8Array;
	/** Acceptance time of its oldest alarm. */
	sinceMs: number;
}

/** An item as the worker finds it: readable, or with what is wrong. */
export type Decoded =
	| { id: AlarmId; queued: QueuedAlarm; line: string }
	| { id: AlarmId | null; broken: string; line: string };

export function encodeItem(id: AlarmId, queued: QueuedAlarm): Item {
	const shown = showId(id);
	const line = `${shown} ${JSON.stringify(queued)}`;
	return { id, shown, line, bytes: Buffer.byteLength(line) + 1, acceptedAtMs: queued.acceptedAtMs };
}

/** An item as it is parked: its line as it came, with its id in front where that could not be read. */
export function parkedItem(id: AlarmId, line: string, acceptedAtMs: number): Item {
	const shown = showId(id);
	const known = line.startsWith(shown) ? line : `${shown} ${line}`;
	return { id, shown, line: known, bytes: Buffer.byteLength(known) + 1, acceptedAtMs };
}

/** Written line by line into one buffer: joining and encoding the whole again would cost a tenth of a bulk request. */
export function encodeBatch(items: Item[]): Buffer {
	const payload = Buffer.allocUnsafe(items.reduce((sum, { bytes }) => sum + bytes, 0));
	let end = 0;
	for (const { line } of items) {
		end += payload.write(line, end);
		payload[end++] = NEWLINE;
	}
	// No empty line at the end.
	return payload.subarray(0, Math.max(end - 1, 0));
}

/** How many of the waiting items go into the next batch: at least one, at most `BATCH_ITEMS` and `BATCH_BYTES`. */
export function batchSize(waiting: Item[]): number {
	let bytes = 0;
	let count = 0;
	for (const item of waiting) {
		bytes += item.bytes;
		if (count > 0 && (bytes > BATCH_BYTES || count === BATCH_ITEMS)) break;
		count++;
	}
	return count;
}

/** Items cut into batches of their own (a bulk request). */
export function cutBatches(items: Item[]): Item[][] {
	const batches: Item[][] = [];
	for (let rest = items; rest.length > 0; ) {
		const count = batchSize(rest);
		batches.push(rest.slice(0, count));
		rest = rest.slice(count);
	}
	return batches;
}

/** Empty for an empty payload: a creating process asks with it whether the queue takes messages. */
export function decodeBatch(payload: Uint8Array): Decoded[] {
	if (payload.length === 0) return [];
	const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString();
	return text.split("\n").map(decodeLine);
}

/** One line of a batch. What is broken is told without a piece of it: the line holds a customer's text. */
export function decodeLine(line: string): Decoded {
	const id = parseId(line.slice(0, 27));
	if (id === null || line[27] !== " ")
		return { id, broken: "the item does not begin with an alarm id and a space", line };
	try {
		const queued: unknown = JSON.parse(line.slice(28));
		if (isQueued(queued)) return { id, queued, line };
		return { id, broken: "the item lacks its producer, time or alarm", line };
	} catch {
		return { id, broken: "the JSON of the item is broken", line };
	}
}

function isQueued(value: unknown): value is QueuedAlarm {
	if (typeof value !== "object" || value === null) return false;
	const { producer, acceptedAtMs, alarm } = value as Partial<QueuedAlarm>;
	return typeof producer === "string" && Number.isFinite(acceptedAtMs) && typeof alarm?.userId === "string";
}
