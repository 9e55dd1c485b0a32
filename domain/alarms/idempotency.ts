import type { JsonValue, NewAlarm } from "../../contracts/alarm.ts";
import { FAILURES } from "../../contracts/errors.ts";
import { dayOf } from "../time/periods.ts";
import { type AlarmId, sha256, showId } from "./ids.ts";
import { isTombstone, type Slot, type Tombstone } from "./rows.ts";
import type { Decision } from "./triage.ts";

/**
 * One (producer, userId, idempotencyKey) makes one alarm for at least 24 hours. The rules of who is the alarm and who its duplicate;
 * stores/alarms/idempotency-keys.ts does the deeds. On each day one request at most *holds* a key: it has the key's row in the collection of that day.
 */
export interface KeyRow {
	_id: Buffer;
	/** The request that holds the key on this day. */
	alarm: AlarmId;
	/** Of the content of the alarm that the key stands for: `of`, if that is set, else `alarm`. */
	bodyHash: Buffer;
	/** Only of an alarm for later: the id of every other one tells it. For the tombstone that another request may write. */
	acceptedAt?: Date;
	/**
	 * The alarm against which the holder has lost; set only after the holder's slot says so. Such a row takes nothing from the day
	 * after: its original lies a whole day back, and a producer that uses one key every day must not be a duplicate for ever.
	 */
	of?: AlarmId;
}

/** A decision that wants to become an alarm under a key, and the row with which it claims that. */
export interface Claim {
	decision: Decision;
	/** Day of acceptance (UTC); names the collection. Not of the id's time, which `sendAt` moves. */
	day: string;
	row: KeyRow;
	producer: string;
}

const OWNER_BYTES = 8;
const KEY_HASH_BYTES = 12;
const BODY_HASH_BYTES = 8;

/** The claim of a decision; null for one without a key, and for one that is no alarm anyway. */
export function claimOf({ id, slot, keyed }: Decision): Omit<Claim, "decision"> | null {
	const key = keyed?.alarm.idempotencyKey;
	if (keyed === undefined || key === undefined || isTombstone(slot)) return null;
	const row: KeyRow = {
		_id: keyRowId(id, keyed.producer, key, slot.userId),
		alarm: id,
		bodyHash: bodyHashOf(keyed.alarm),
	};
	if (slot.acceptedAt !== undefined) row.acceptedAt = slot.acceptedAt;
	return { day: dayOf(keyed.acceptedAtMs), row, producer: keyed.producer };
}

/** Where a key's rows stand: 8 bytes of the customer, as in the ids of the alarms, so in their shard; 12 of a hash of the rest. */
export function keyRowId(id: AlarmId, producer: string, key: string, userId: string): Buffer {
	// As JSON, because "ab" + "c" and "a" + "bc" must not be one key.
	const rest = sha256(JSON.stringify([producer, key, userId])).subarray(0, KEY_HASH_BYTES);
	return Buffer.concat([id.subarray(0, OWNER_BYTES), rest]);
}

/** Equal for alarms of equal content, in whatever order their fields were written. The key itself is no content. */
export function bodyHashOf(alarm: NewAlarm): Buffer {
	const { idempotencyKey: _, ...content } = alarm;
	return sha256(JSON.stringify(ordered(content as unknown as JsonValue))).subarray(0, BODY_HASH_BYTES);
}

/**
 * The same for equal values: an object as the list of its fields in the order of their names, marked so that no list is one.
 * Written as text in one go afterwards, which costs half of writing piece by piece.
 */
function ordered(value: JsonValue): JsonValue {
	if (typeof value !== "object" || value === null) return value;
	if (Array.isArray(value)) return value.map(ordered);
	const fields: JsonValue[] = [];
	for (const name of Object.keys(value).sort()) {
		const inner = value[name];
		if (inner !== undefined) fields.push(name, ordered(inner));
	}
	return { fields };
}

/** Why a request is no alarm: another one of its key is, with the same content or (a conflict) with other content. */
export interface Loss {
	of: AlarmId;
	isConflict: boolean;
}

function lossAgainst(own: KeyRow, rival: KeyRow): Loss {
	return { of: rival.of ?? rival.alarm, isConflict: !own.bodyHash.equals(rival.bodyHash) };
}

/** By the row that stood for the key on the request's own day. Null: it is the request's own, from an earlier delivery, and it goes on. */
export function lossOnOwnDay(own: KeyRow, standing: KeyRow): Loss | null {
	const goesOn = standing.alarm.equals(own.alarm) && standing.of === undefined;
	return goesOn ? null : lossAgainst(own, standing);
}

/** Two holders of one key on neighbouring days. Who is the alarm is decided in one place: the slot of the `loser` to be. */
export interface Meeting {
	loser: { row: KeyRow; day: string };
	winner: KeyRow;
}

/**
 * Whom the holder of a key meets. The holder of the day before came first. One of the day after may have been stored meanwhile: then it
 * stays, and otherwise it loses. With none of them the holder is the alarm: whoever of them comes later finds its row.
 */
export function meetingOf(
	own: { row: KeyRow; day: string },
	before: KeyRow | undefined,
	after: { row: KeyRow; day: string } | undefined,
): Meeting | null {
	if (isRival(own.row, before)) return { loser: own, winner: before };
	if (after !== undefined && isRival(own.row, after.row)) return { loser: after, winner: own.row };
	return null;
}

function isRival(own: KeyRow, row: KeyRow | undefined): row is KeyRow {
	return row !== undefined && row.of === undefined && !row.alarm.equals(own.alarm);
}

/** What the meeting means for `own`, by what stands in the loser's slot since. A slot never changes, so neither does this. */
export function lossAfter({ loser, winner }: Meeting, own: KeyRow, standing: Slot | null): Loss | null {
	const isStored = standing !== null && !isTombstone(standing);
	if (loser.row === own) return isStored ? null : lossAgainst(own, winner);
	return isStored ? lossAgainst(own, loser.row) : null;
}

/** Whether the loser's slot says that it lost against this very winner: only then may its row say so. */
export function isSettled({ winner }: Meeting, standing: Slot | null): boolean {
	return standing !== null && isTombstone(standing) && standing.of !== undefined && winner.alarm.equals(standing.of);
}

/** The loser's tombstone for its meeting. */
export function tombstoneOf({ loser, winner }: Meeting, producer: string, nowMs: number): Tombstone {
	return lostSlot(loser.row, lossAgainst(loser.row, winner), producer, nowMs);
}

/** The tombstone of a request that is no alarm: a duplicate, or failed for its other content. */
export function lostSlot({ alarm, acceptedAt }: KeyRow, loss: Loss, producer: string, nowMs: number): Tombstone {
	const { of, isConflict } = loss;
	const code = "IDEMPOTENCY_CONFLICT";
	const slot: Tombstone = {
		_id: alarm,
		outcome: isConflict ? "failed" : "duplicate",
		of,
		producer,
		at: new Date(nowMs),
	};
	if (isConflict) slot.why = { code, message: `${FAILURES[code]} That alarm is ${showId(of)}.` };
	if (acceptedAt !== undefined) slot.acceptedAt = acceptedAt;
	return slot;
}
