import type { Lane } from "../../contracts/alarm.ts";
import { FAILURES, type FailureCode } from "../../contracts/errors.ts";
import type { Decoded } from "./batch.ts";
import { type AlarmId, ID_BYTES, idTimeMs, userRange } from "./ids.ts";
import { type AlarmRow, type QueuedAlarm, type Tombstone, toRow } from "./rows.ts";

/** An id may be this far ahead of its batch's publish without `sendAt` before its creator's clock is called wrong. */
const SKEW_MS = 60_000;

/** What a worker puts into an item's slot if the slot is still free. */
export interface Decision {
	id: AlarmId;
	slot: AlarmRow | Tombstone;
	line: string;
	userId?: string;
	/** Of an alarm with an idempotency key that may become a row: what its key is claimed with. */
	keyed?: QueuedAlarm;
}

/** Where an item stood in the queue: which message of which lane, and its place in the batch. */
export interface Whereabouts {
	lane: Lane;
	/** When its batch was put there, by the queue's clock; of one that was parked or relayed it is later. */
	streamTimeMs: number;
	sequence: number;
	index: number;
}

/** The rules that turn a queued item into a row or a tombstone. `at` names the item where it has no readable id. */
export function triage(item: Decoded, nowMs: number, at: Whereabouts): Decision {
	if ("broken" in item) return failed(item.id ?? lostId(at), "CORRUPT_ITEM", item, nowMs, item.broken);
	const { id, queued, line } = item;
	const { userId, sendAt, expiresAt, idempotencyKey } = queued.alarm;
	// Not by this worker's own clock: a slow one would bury what was accepted just now.
	if (sendAt === undefined && idTimeMs(id) > at.streamTimeMs + SKEW_MS) return failed(id, "CLOCK_SKEW", item, nowMs);
	if (expiresAt !== undefined && Date.parse(expiresAt) <= nowMs) {
		return { id, slot: { ...tombstone(id, "expired", nowMs), ...sender(queued) }, line, userId };
	}
	const decision: Decision = { id, slot: toRow(id, queued), line, userId };
	if (idempotencyKey !== undefined) decision.keyed = queued;
	return decision;
}

function tombstone(id: AlarmId, outcome: Tombstone["outcome"], nowMs: number): Tombstone {
	return { _id: id, outcome, at: new Date(nowMs) };
}

/** Who sent it, and when, where its id does not tell. */
function sender({ producer, acceptedAtMs, alarm }: QueuedAlarm): Pick<Tombstone, "producer" | "acceptedAt"> {
	return { producer, ...(alarm.sendAt !== undefined && { acceptedAt: new Date(acceptedAtMs) }) };
}

function cause(code: FailureCode, detail: string | undefined): NonNullable<Tombstone["why"]> {
	return { code, message: detail === undefined ? FAILURES[code] : `${FAILURES[code]} ${detail}` };
}

/** A decision that buries the item: tombstone `failed` with its cause. */
export function failed(id: AlarmId, code: FailureCode, item: Decoded, nowMs: number, detail?: string): Decision {
	const slot = { ...tombstone(id, "failed", nowMs), why: cause(code, detail) };
	if ("broken" in item) return { id, slot, line: item.line };
	return { id, slot: { ...slot, ...sender(item.queued) }, line: item.line, userId: item.queued.alarm.userId };
}

/** The same burial for an item that has been decided on before (its month is gone, the database refused its row). */
export function markFailed(
	decision: Decision,
	code: FailureCode,
	nowMs: number,
	detail?: string,
): Decision & { slot: Tombstone } {
	const { producer, acceptedAt } = decision.slot;
	const known = { ...(producer !== undefined && { producer }), ...(acceptedAt !== undefined && { acceptedAt }) };
	const slot = { ...tombstone(decision.id, "failed", nowMs), why: cause(code, detail), ...known };
	return { ...decision, slot };
}

/** A slot for an item whose own id cannot be read: the same one at every delivery, so that it is counted once. */
function lostId({ lane, streamTimeMs, sequence, index }: Whereabouts): AlarmId {
	const id = userRange(`unreadable items of the ${lane} lane`, streamTimeMs, streamTimeMs).low;
	id.writeUInt32BE(sequence % 2 ** 32, ID_BYTES - 6);
	id.writeUInt16BE(index % 2 ** 16, ID_BYTES - 2);
	return id;
}
