import { idTimeMs } from "./ids.ts";
import type { AlarmRow } from "./rows.ts";

/**
 * What a customer has read. `read-all` moves a watermark (of all, or of one category) at or before which everything reads as read, so
 * that the badge never scans what is behind it. Alarms marked unread again behind a watermark stand in `unread`, one by one.
 */
export interface ReadState {
	allBeforeMs: number;
	categoryBeforeMs: Record<string, number>;
	unread: { id: Buffer; category: string }[];
}

export const NOTHING_READ: ReadState = { allBeforeMs: -1, categoryBeforeMs: {}, unread: [] };
/** At most so many single unread marks behind a watermark, and categories with a watermark of their own. */
export const MAX_UNREAD_MARKS = 100;
const MAX_CATEGORY_MARKS = 64;

export function isRead(row: AlarmRow, state: ReadState): boolean {
	if (isMarkedUnread(row._id, state)) return false;
	return row.readAt !== undefined || isBehind(row._id, row.category, state);
}

/** True when a watermark covers the alarm. */
export function isBehind(id: Uint8Array, category: string, state: ReadState): boolean {
	const timeMs = idTimeMs(id);
	return timeMs <= state.allBeforeMs || timeMs <= categoryBeforeMs(state, category);
}

function categoryBeforeMs({ categoryBeforeMs }: ReadState, category: string): number {
	return Object.hasOwn(categoryBeforeMs, category) ? (categoryBeforeMs[category] ?? -1) : -1;
}

/** True when a watermark for this category exists or fits. */
export function hasRoomForCategory({ categoryBeforeMs }: ReadState, category: string): boolean {
	return Object.hasOwn(categoryBeforeMs, category) || Object.keys(categoryBeforeMs).length < MAX_CATEGORY_MARKS;
}

function isMarkedUnread(id: Buffer, { unread }: ReadState): boolean {
	return unread.length > 0 && unread.some((mark) => mark.id.equals(id));
}

/** Categories whose own watermark is beyond that of all: those a count must still leave out. */
export function categoriesAhead(state: ReadState): [category: string, beforeMs: number][] {
	return Object.entries(state.categoryBeforeMs).filter(([, beforeMs]) => beforeMs > state.allBeforeMs);
}

/** Sums the unread alarms found, up to `cap`; `found` are their categories. */
export function summarize(
	found: string[],
	cap: number,
): { count: number; capped: boolean; byCategory: Record<string, number> } {
	// A map, because a category may be called "constructor".
	const counts = new Map<string, number>();
	for (const category of found.slice(0, cap)) counts.set(category, (counts.get(category) ?? 0) + 1);
	return { count: Math.min(found.length, cap), capped: found.length > cap, byCategory: Object.fromEntries(counts) };
}
