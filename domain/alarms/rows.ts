import type { AlarmStatus, InboxAlarm, JsonObject, Lane, NewAlarm, Outcome } from "../../contracts/alarm.ts";
import type { FailureCode } from "../../contracts/errors.ts";
import { idTimeMs, showId } from "./ids.ts";

/** One stored alarm: the single document that an inbox page reads. Buffers become BSON binaries. */
export interface AlarmRow {
	_id: Buffer;
	userId: string;
	category: string;
	title: string;
	body: string;
	link?: string;
	data?: JsonObject;
	occurredAt?: Date;
	sendAt?: Date;
	/** Only of an alarm for later: the id of every other one tells it. */
	acceptedAt?: Date;
	expiresAt?: Date;
	producer: string;
	idempotencyKey?: string;
	readAt?: Date;
	hidden?: true;
}

/** A slot that did not become an alarm. It has no userId, and so no read of an inbox sees it. */
export interface Tombstone {
	_id: Buffer;
	outcome: Outcome;
	why?: { code: string; message: string };
	of?: Uint8Array;
	producer?: string;
	acceptedAt?: Date;
	at: Date;
}
export type Slot = AlarmRow | Tombstone;

/** One row per failed alarm, by the same `_id`: everything needed to look it up and to send it again. */
export interface FailureRow {
	_id: Buffer;
	code: FailureCode;
	message: string;
	producer?: string;
	userId?: string;
	lane: Lane;
	/** The queued item as it came, so that a redrive sends exactly that. */
	item: string;
	failedAt: Date;
	/** Told by the item where it can be read, so that a list need not open it. */
	category?: string;
	/** Only of an alarm for later: the id of every other one tells it. */
	acceptedAt?: Date;
	discarded?: { by: string; why: string; at: Date };
}

/** What a queued item carries beside its id. */
export interface QueuedAlarm {
	producer: string;
	acceptedAtMs: number;
	alarm: NewAlarm;
}

export function isTombstone(slot: Slot): slot is Tombstone {
	return "outcome" in slot;
}

export function toRow(id: Buffer, { producer, acceptedAtMs, alarm }: QueuedAlarm): AlarmRow {
	const row: AlarmRow = {
		_id: id,
		userId: alarm.userId,
		category: alarm.category,
		title: alarm.title ?? "",
		body: alarm.body ?? "",
		producer,
	};
	if (alarm.link !== undefined) row.link = alarm.link;
	if (alarm.data !== undefined) row.data = alarm.data;
	if (alarm.occurredAt !== undefined) row.occurredAt = new Date(alarm.occurredAt);
	if (alarm.sendAt !== undefined) {
		row.sendAt = new Date(alarm.sendAt);
		row.acceptedAt = new Date(acceptedAtMs);
	}
	if (alarm.expiresAt !== undefined) row.expiresAt = new Date(alarm.expiresAt);
	if (alarm.idempotencyKey !== undefined) row.idempotencyKey = alarm.idempotencyKey;
	return row;
}

/** The row as the customer sees it. `read` is decided by the customer's marks, see read-state.ts. */
export function toInbox(row: AlarmRow, read: boolean): InboxAlarm {
	const shown: InboxAlarm = {
		id: showId(row._id),
		category: row.category,
		title: row.title,
		body: row.body,
		createdAt: new Date(idTimeMs(row._id)).toISOString(),
		read,
	};
	if (row.link !== undefined) shown.link = row.link;
	if (row.data !== undefined) shown.data = row.data;
	if (row.occurredAt !== undefined) shown.occurredAt = row.occurredAt.toISOString();
	if (read && row.readAt !== undefined) shown.readAt = row.readAt.toISOString();
	return shown;
}

export function toStatus(id: Buffer, slot: Slot | null): AlarmStatus {
	const acceptedAt = slot?.acceptedAt ?? new Date(idTimeMs(id));
	const base = { id: showId(id), acceptedAt: acceptedAt.toISOString() };
	if (slot === null) return { ...base, status: "pending" };
	if (!isTombstone(slot)) return { ...base, status: "stored" };
	const { why, of } = slot;
	return { ...base, status: slot.outcome, ...(why && { why }), ...(of && { of: showId(of) }) };
}
