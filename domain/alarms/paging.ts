import { type Month, monthEndMs, monthStartMs } from "../time/periods.ts";
import { belongsTo, ID_BYTES, type IdRange, idTimeMs, nextId, userRange } from "./ids.ts";
import { isRead, type ReadState } from "./read-state.ts";
import type { AlarmRow } from "./rows.ts";

/** How many rows one request may look at; a page that needs more comes short, with a cursor to go on from. */
export const SCAN_BUDGET = 1_000;
/** Rows fetched at a time where a filter may throw most of them away. */
const FILTERED_CHUNK = 200;
/** Clocks of creating nodes may be ahead: an alarm of "now" must be seen by a node that is a little behind. */
const CLOCK_SLACK_MS = 60_000;
/** A page closes before that: on the bus one answer has at most 1 MB. */
const PAGE_BYTES = 512 * 1024;
const CURSOR_VERSION = 1;

/** A page that is asked for, in plain terms. `after` is the last id already scanned. */
export interface PageRequest {
	userId: string;
	limit: number;
	after: Buffer | null;
	category?: string;
	read?: boolean;
	fromMs: number;
	toMs: number;
	nowMs: number;
}

export function showCursor(lastScanned: Buffer): string {
	return Buffer.concat([Buffer.of(CURSOR_VERSION), lastScanned]).toString("base64url");
}

/** The position behind a cursor, or null when it was not issued for this customer's list. */
export function parseCursor(cursor: string, userId: string): Buffer | null {
	const bytes = Buffer.from(cursor, "base64url");
	const position = bytes.subarray(1);
	const ours = bytes.length === ID_BYTES + 1 && bytes[0] === CURSOR_VERSION && bytes.toString("base64url") === cursor;
	return ours && belongsTo(position, userId) ? position : null;
}

/** The stretch of time that a page may come from: nothing of the future, nothing newer than its cursor. */
export function pageWindow({ fromMs, toMs, nowMs, after }: PageRequest): { fromMs: number; toMs: number } {
	// Of what comes next and not of the cursor: one on a month's border would else bring in the month that it has left.
	const next = after === null ? null : nextId(after);
	const cursorMs = next === null ? toMs : idTimeMs(next);
	return { fromMs, toMs: Math.min(toMs, cursorMs, nowMs + CLOCK_SLACK_MS) };
}

/** The ids a page may come from. */
export function pageRange(request: PageRequest): IdRange {
	const { fromMs, toMs } = pageWindow(request);
	const range = userRange(request.userId, fromMs, toMs);
	const next = request.after === null ? null : nextId(request.after);
	return next !== null && next.compare(range.low) > 0 ? { ...range, low: next } : range;
}

/** The months, newest first, that hold a part of `range`. */
export function monthsInside(held: Month[], fromMs: number, toMs: number): Month[] {
	return held.filter((month) => monthStartMs(month) <= toMs && monthEndMs(month) >= fromMs);
}

/** How many rows to fetch next: one more than is missing (so that the end is seen), more at once under a filter. */
export function chunkSize(request: PageRequest, have: number, scanned: number): number {
	const missing = request.limit - have + 1;
	const filtered = request.category !== undefined || request.read !== undefined;
	return Math.min(filtered ? Math.max(missing, FILTERED_CHUNK) : missing, Math.max(SCAN_BUDGET - scanned, 1));
}

/** A page in the making. */
export interface Draft {
	rows: AlarmRow[];
	lastScanned: Buffer | null;
	scanned: number;
	bytes: number;
	/** True when the page is full or the budget is used, and there may be more. */
	stopped: boolean;
}

export const EMPTY_DRAFT: Draft = { rows: [], lastScanned: null, scanned: 0, bytes: 0, stopped: false };

/** Adds a chunk of scanned rows to the draft, until the page is full. */
export function extend(draft: Draft, chunk: AlarmRow[], request: PageRequest, state: ReadState): Draft {
	const rows = [...draft.rows];
	let { lastScanned, scanned, bytes } = draft;
	for (const row of chunk) {
		if (rows.length === request.limit || bytes > PAGE_BYTES)
			return { rows, lastScanned, scanned, bytes, stopped: true };
		if (isWanted(row, request, state)) {
			rows.push(row);
			bytes += sizeOf(row);
		}
		lastScanned = row._id;
		scanned++;
	}
	return { rows, lastScanned, scanned, bytes, stopped: scanned >= SCAN_BUDGET };
}

/**
 * The page that ends where `month` cannot be read on: with what it has, and a cursor that goes on in `month` itself. Null when it has got
 * nowhere, because it begins inside of `month`.
 */
export function endBefore(month: Month, draft: Draft, request: PageRequest): Draft | null {
	const endMs = monthEndMs(month);
	if (draft.lastScanned !== null && idTimeMs(draft.lastScanned) <= endMs) return { ...draft, stopped: true };
	if (pageWindow(request).toMs <= endMs) return null;
	return { ...draft, lastScanned: userRange(request.userId, endMs + 1, endMs + 1).high, stopped: true };
}

/** About the bytes of a row in an answer: three for a character, since most are Korean. */
function sizeOf({ title, body, link = "", data }: AlarmRow): number {
	return 200 + 3 * (title.length + body.length + link.length + (data === undefined ? 0 : JSON.stringify(data).length));
}

function isWanted(row: AlarmRow, { category, read, nowMs }: PageRequest, state: ReadState): boolean {
	if (row.hidden || (row.sendAt !== undefined && row.sendAt.getTime() > nowMs)) return false;
	if (category !== undefined && row.category !== category) return false;
	return read === undefined || isRead(row, state) === read;
}
