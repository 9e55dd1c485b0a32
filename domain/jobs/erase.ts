import { ID_BYTES, idTimeMs } from "../alarms/ids.ts";
import { MARGIN_MS } from "../alarms/low-watermark.ts";
import {
	ARCHIVE_CATALOG,
	type CatalogEntry,
	catalogEntryOf,
	movedName,
	SHARD_CATALOG,
} from "../routing/collection-catalog.ts";

/** What an erase takes away: which collections it looks into, which rows are the customer's, which ids of a ledger row. */

/** Of rows: a collection that is moving, or was left behind, holds those of the kind that its name goes on with. */
type ShardKind = Exclude<keyof typeof SHARD_CATALOG, "incoming" | "retained_move"> | keyof typeof ARCHIVE_CATALOG;

/** By what the rows of a kind are known as the customer's; null: the kind holds nothing of a customer. */
const OWNED_BY: Record<ShardKind, "slot" | "key" | "failure" | "user" | null> = {
	failures: "failure",
	alarms: "slot",
	retained_archive: "slot",
	copy: "slot",
	keys: "key",
	users: "user",
	moves: null,
};

/** How an erase names what it has removed: kinds of collections, `archived` for the alarms on an archive cluster, `ledger` for ids there. */
export type Removed = Record<string, number>;

/** One collection to sweep. */
export interface Swept {
	name: string;
	kind: ShardKind;
	/** Its name among what was removed. */
	label: string;
}

/** The collections among `names` that hold something of customers: failures first, so that none is sent again into a slot that was swept. */
export function sweptOfShard(names: string[]): Swept[] {
	return sweptAmong(SHARD_CATALOG, names, (kind) => kind);
}

/** The same of a shard's archive database. */
export function sweptOfArchive(names: string[]): Swept[] {
	return sweptAmong(ARCHIVE_CATALOG, names, (kind) => (kind === "alarms" ? "archived" : kind));
}

function sweptAmong(
	catalog: Record<string, CatalogEntry>,
	names: string[],
	labelOf: (kind: ShardKind) => string,
): Swept[] {
	const order = Object.keys(OWNED_BY);
	const swept = names.flatMap((name) => {
		const moved = movedName(name);
		const kind = catalogEntryOf(catalog, moved?.name ?? name)?.kind as ShardKind | undefined;
		if (kind === undefined || OWNED_BY[kind] === null) return [];
		return [{ name, kind, label: moved?.kind ?? labelOf(kind) }];
	});
	return swept.sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
}

/** What of a row, of whatever kind, tells whose it is and when it was accepted. */
export interface OwnedRow {
	_id: Buffer;
	userId?: string;
	outcome?: string;
	/** Of a key: the alarm that holds it. */
	alarm?: Buffer;
	acceptedAt?: Date;
	/** When a tombstone, or a failure, was written. */
	at?: Date;
	failedAt?: Date;
}

/** The fields of {@link OwnedRow}, as a projection. */
export const OWNED_FIELDS = { userId: 1, outcome: 1, alarm: 1, acceptedAt: 1, at: 1, failedAt: 1 } as const;

/**
 * Whether a row in the customer's range is the customer's, and was accepted before the moment up to which all has arrived: whatever came
 * later may still get its ledger row, and would then be called lost.
 */
export function isToErase(kind: ShardKind, row: OwnedRow, userId: string, beforeMs: number): boolean {
	switch (OWNED_BY[kind]) {
		case "user":
			return row.userId === userId;
		case "slot":
			// A tombstone does not say whose it is.
			return (row.userId === userId || row.outcome !== undefined) && isAcceptedBefore(row, row._id, beforeMs);
		case "failure":
			return (row.userId ?? userId) === userId && isAcceptedBefore(row, row._id, beforeMs);
		case "key":
			return row.alarm !== undefined && isAcceptedBefore(row, row.alarm, beforeMs);
		default:
			return false;
	}
}

/** The id of an alarm for later tells another time, and that of a wrong clock a wrong one: then the row was written before. */
function isAcceptedBefore({ acceptedAt, at, failedAt }: OwnedRow, id: Buffer, beforeMs: number): boolean {
	const acceptedMs = acceptedAt?.getTime() ?? idTimeMs(id);
	const writtenMs = (at ?? failedAt)?.getTime() ?? Number.POSITIVE_INFINITY;
	return Math.min(acceptedMs, writtenMs) < beforeMs;
}

/** The ids of a ledger row without those of one customer (the first 8 bytes), and how many those were; null when it has none of them. */
export function withoutOwner(ids: Buffer, owner: Buffer): { ids: Buffer; erased: number } | null {
	const kept: Buffer[] = [];
	for (let at = 0; at < ids.length; at += ID_BYTES) {
		if (ids.compare(owner, 0, owner.length, at, at + owner.length) !== 0) kept.push(ids.subarray(at, at + ID_BYTES));
	}
	const erased = Math.ceil(ids.length / ID_BYTES) - kept.length;
	return erased === 0 ? null : { ids: Buffer.concat(kept), erased };
}

/** Whether all that was accepted before an erase began has arrived, also what a clock that is a little fast has called younger. */
export function hasArrived(startedAtMs: number, watermarkMs: number | null): watermarkMs is number {
	return watermarkMs !== null && watermarkMs > startedAtMs + MARGIN_MS;
}
