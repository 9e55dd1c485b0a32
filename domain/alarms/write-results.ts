/** What a MongoDB write reply means. Pure, because this is where others lost alarms: an empty error list is not success. */

export interface WriteReply {
	ok?: number;
	n?: number;
	writeErrors?: { index: number; code: number; errmsg?: string }[];
	writeConcernError?: { code: number; errmsg?: string };
}

/** Per document: it is there now; its slot was taken; a fence stands before it; the database will never take it; not known. */
export type WriteResult = "stored" | "duplicate" | "fenced" | "rejected" | "unknown";

export const DUPLICATE_KEY = 11_000;
/** DocumentValidationFailure: the collection is fenced by a validator that rejects everything. */
export const FENCED = 121;
/** CollectionUUIDMismatch: the collection was dropped, renamed or replaced: reload the map. */
export const MOVED = 361;

/** Errors of one document that the same document will meet again (BadValue, TypeMismatch, BSONObjectTooLarge, InvalidBSON …). */
const HOPELESS = new Set([2, 14, 22, 10334, 17280, 17420]);

/** Overflow (nested too deep), InvalidBSON, BSONObjectTooLarge: the server refuses the whole command for one document in it. */
const UNREADABLE = new Set([15, 22, 10334]);
export function isUnreadable(code: number): boolean {
	return UNREADABLE.has(code);
}

/** A verdict for each of `count` documents of one unordered insert. Anything that does not add up is unknown. */
export function insertResults(reply: WriteReply, count: number): WriteResult[] {
	const errors = reply.writeErrors ?? [];
	if (!addsUp(reply, errors, count)) return Array<WriteResult>(count).fill("unknown");
	const results = Array<WriteResult>(count).fill("stored");
	for (const { index, code } of errors) results[index] = resultOfError(code);
	return results;
}

function addsUp({ ok, n, writeConcernError }: WriteReply, errors: { index: number }[], count: number): boolean {
	const places = new Set(errors.map(({ index }) => index).filter((index) => index >= 0 && index < count));
	return (
		ok === 1 && !writeConcernError && n !== undefined && n + errors.length === count && places.size === errors.length
	);
}

function resultOfError(code: number): WriteResult {
	if (code === DUPLICATE_KEY) return "duplicate";
	if (code === FENCED) return "fenced";
	return HOPELESS.has(code) ? "rejected" : "unknown";
}

/** Wait before an attempt is made again: doubles from `firstMs` to `mostMs`; `chance` (0 to 1) spreads the callers. */
export function backoffMs(attempt: number, firstMs: number, mostMs: number, chance: number): number {
	const full = Math.min(firstMs * 2 ** Math.max(attempt - 1, 0), mostMs);
	return Math.round(full / 2 + (full / 2) * chance);
}
