import { FAILURES, type FailureCode } from "../contracts/errors.ts";
import type { Decoded } from "./batch.ts";
import { type AlarmId, ID_BYTES, idTimeMs, userRange } from "./ids.ts";
import { type AlarmRow, type Tombstone, toRow } from "./rows.ts";

/** An id may be this far in the future without `sendAt` before its creator's clock is called wrong. */
const SKEW_MS = 60_000;

/** What a worker puts into an item's slot if the slot is still free. */
export interface Decision {
	id: AlarmId;
	slot: AlarmRow | Tombstone;
	line: string;
	userId?: string;
}

/** The rules that turn a queued item into a row or a tombstone. `at` names the item where it has no readable id. */
export function triage(item: Decoded, nowMs: number, at: { streamTimeMs: number; sequence: number }): Decision {
	if ("broken" in item) return failed(item.id ?? lostId(at), "CORRUPT_ITEM", item, nowMs, item.broken);
	const { id, queued, line } = item;
	const { userId, sendAt, expiresAt } = queued.alarm;
	if (sendAt === undefined && idTimeMs(id) > nowMs + SKEW_MS) return failed(id, "CLOCK_SKEW", item, nowMs);
	if (expiresAt !== undefined && Date.parse(expiresAt) <= nowMs) {
		return { id, slot: { _id: id, outcome: "expired", producer: queued.producer, at: new Date(nowMs) }, line, userId };
	}
	return { id, slot: toRow(id, queued), line, userId };
}

/** A decision that buries the item: tombstone `failed` with its cause. */
export function failed(id: AlarmId, code: FailureCode, item: Decoded, nowMs: number, detail?: string): Decision {
	const message = detail === undefined ? FAILURES[code] : `${FAILURES[code]} ${detail}`;
	const slot: Tombstone = { _id: id, outcome: "failed", why: { code, message }, at: new Date(nowMs) };
	if ("broken" in item) return { id, slot, line: item.line };
	return { id, slot: { ...slot, producer: item.queued.producer }, line: item.line, userId: item.queued.alarm.userId };
}

/** The same burial for an item that has been decided on before (its month is gone, the database refused its row). */
export function buried(decision: Decision, code: FailureCode, nowMs: number, detail?: string): Decision {
	const message = detail === undefined ? FAILURES[code] : `${FAILURES[code]} ${detail}`;
	const { producer } = decision.slot;
	const slot: Tombstone = { _id: decision.id, outcome: "failed", why: { code, message }, at: new Date(nowMs) };
	return { ...decision, slot: producer === undefined ? slot : { ...slot, producer } };
}

/** A slot for an item whose own id cannot be read: the same one at every delivery, so that it is counted once. */
function lostId({ streamTimeMs, sequence }: { streamTimeMs: number; sequence: number }): AlarmId {
	const id = userRange("", streamTimeMs, streamTimeMs).low;
	id.writeUIntBE(sequence % 2 ** 48, ID_BYTES - 6, 6);
	return id;
}
