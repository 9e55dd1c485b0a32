import type { Caller } from "../../contracts/access.ts";
import { LIMITS } from "../../contracts/alarm.ts";
import { Fault } from "../../contracts/errors.ts";
import type { Discard, Failure, FailureFilter, FailureQuery, RedriveRequest } from "../../contracts/failures.ts";
import { invalid, momentMs } from "../validation-fault.ts";
import { decodeLine } from "./batch.ts";
import { ID_BYTES, idTimeMs, showId } from "./ids.ts";
import type { FailureRow } from "./rows.ts";
import { type Decision, failed, triage } from "./triage.ts";

/** The rules of looking failures up and of sending them again. */

/** A place in the list of failures, newest first. */
export interface FailurePosition {
	failedAtMs: number;
	id: Buffer;
}

/** A list of failures that is asked for, in plain terms. `after` is the last one already seen. */
export interface FailureRequest {
	limit: number;
	after: FailurePosition | null;
	producer?: string;
	code?: string;
	userId?: string;
	fromMs?: number;
	toMs?: number;
	/** True: discarded ones, too. */
	discarded: boolean;
}

/** A row as a list reads it: without the item, which is the customer's and can be long. */
export type ListedFailure = Omit<FailureRow, "item">;

const CURSOR_VERSION = 1;
const TIME_BYTES = 6;
const POSITION_AT = 1 + TIME_BYTES;

/** @throws {Fault} FORBIDDEN for another producer's failures, BROKEN_CURSOR, VALIDATION_FAILED for a moment that does not exist. */
export function failureRequest(query: FailureQuery, caller: Caller): FailureRequest {
	const { limit = LIMITS.pageDefault, cursor, discarded = false, from, to, producer: _asked, ...same } = query;
	const after = cursor === undefined ? null : parseFailureCursor(cursor);
	if (cursor !== undefined && after === null)
		throw new Fault("BROKEN_CURSOR", "This cursor was not issued for failures; begin again without one.");
	const producer = visibleProducer(query, caller);
	return {
		...same,
		limit,
		after,
		discarded,
		...(producer !== undefined && { producer }),
		...(from !== undefined && { fromMs: momentMs("from", from) }),
		...(to !== undefined && { toMs: momentMs("to", to) }),
	};
}

/** Whose failures the caller gets to see: an operator those it names, or all; a producer its own and no other. */
function visibleProducer({ producer }: FailureFilter, caller: Caller): string | undefined {
	if (caller.role === "operator") return producer;
	if (producer === undefined || producer === caller.name) return caller.name;
	throw new Fault("FORBIDDEN", `A producer sees only its own failures; leave "producer" out, or give ${caller.name}.`);
}

/** @throws {Fault} VALIDATION_FAILED unless exactly one of ids and filter is given, and a limit only beside a filter. */
export function rejectUnclear({ ids, filter, limit }: RedriveRequest): void {
	if ((ids === undefined) === (filter === undefined)) {
		const message = 'Send either "ids" (a list) or "filter" (an object; {} means all that you may see).';
		throw invalid([{ field: ids === undefined ? "ids" : "filter", rule: "exclusive", message }]);
	}
	if (ids === undefined || limit === undefined) return;
	throw invalid([{ field: "limit", rule: "exclusive", message: '"limit" goes with "filter"; "ids" are all meant.' }]);
}

export function showFailureCursor({ _id, failedAt }: Pick<FailureRow, "_id" | "failedAt">): string {
	const bytes = Buffer.alloc(POSITION_AT + ID_BYTES, CURSOR_VERSION);
	bytes.writeUIntBE(failedAt.getTime(), 1, TIME_BYTES);
	_id.copy(bytes, POSITION_AT);
	return bytes.toString("base64url");
}

/** The position behind a cursor, or null when it was not issued for a list of failures. */
export function parseFailureCursor(cursor: string): FailurePosition | null {
	const bytes = Buffer.from(cursor, "base64url");
	const ours =
		bytes.length === POSITION_AT + ID_BYTES && bytes[0] === CURSOR_VERSION && bytes.toString("base64url") === cursor;
	return ours ? { failedAtMs: bytes.readUIntBE(1, TIME_BYTES), id: bytes.subarray(POSITION_AT) } : null;
}

/** The newest `limit` of lists that are each sorted newest first, and whether there are more. */
export function mergeFailures<R extends ListedFailure>(lists: R[][], limit: number): { rows: R[]; more: boolean } {
	// The runtime's sort finds runs that are in order and merges them: this is the merge.
	const all = lists.flat().sort(newestFirst);
	return { rows: all.slice(0, limit), more: all.length > limit };
}

/** As the database sorts `{failedAt: -1, _id: -1}`: many fail in the same millisecond, and the id breaks the tie. */
function newestFirst(one: ListedFailure, other: ListedFailure): number {
	return other.failedAt.getTime() - one.failedAt.getTime() || other._id.compare(one._id);
}

/** How many of the first rows fit into an answer of `mostBytes`; at least one. */
export function countThatFits(rows: ListedFailure[], mostBytes: number): number {
	let bytes = 0;
	const tooMany = rows.findIndex((row) => {
		bytes += Buffer.byteLength(JSON.stringify(toFailure(row)));
		return bytes > mostBytes;
	});
	return tooMany === -1 ? rows.length : Math.max(tooMany, 1);
}

export function toFailure(row: ListedFailure): Failure {
	const { producer, userId, category, discarded } = row;
	return {
		id: showId(row._id),
		code: row.code,
		message: row.message,
		...(producer !== undefined && { producer }),
		...(userId !== undefined && { userId }),
		...(category !== undefined && { category }),
		lane: row.lane,
		acceptedAt: (row.acceptedAt ?? new Date(idTimeMs(row._id))).toISOString(),
		failedAt: row.failedAt.toISOString(),
		...(discarded !== undefined && { discarded: toDiscard(discarded) }),
	};
}

export function toDiscard({ by, why, at }: NonNullable<FailureRow["discarded"]>): Discard {
	return { by, why, at: at.toISOString() };
}

/** What a list tells of an item beside its cause, where the item can be read. */
export function describedBy(line: string): Pick<FailureRow, "category" | "acceptedAt"> {
	const item = decodeLine(line);
	if ("broken" in item) return {};
	const { acceptedAtMs, alarm } = item.queued;
	return {
		...(typeof alarm.category === "string" && { category: alarm.category }),
		...(alarm.sendAt !== undefined && { acceptedAt: new Date(acceptedAtMs) }),
	};
}

/** What a redrive puts into the slot: the same rules as for a new item, on the item as it came, under the id that it has. */
export function decideAgain({ _id, item: line, lane }: FailureRow, nowMs: number): Decision {
	const item = decodeLine(line);
	if (!("broken" in item) && item.id.equals(_id))
		return triage(item, nowMs, { lane, streamTimeMs: nowMs, sequence: 0, index: 0 });
	const broken = "broken" in item ? item.broken : "its id is not that of its failure";
	return failed(_id, "CORRUPT_ITEM", { id: _id, broken, line }, nowMs, broken);
}
