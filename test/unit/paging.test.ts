import fc from "fast-check";
import { idTimeMs, newAlarmId, userRange } from "../../domain/alarms/ids.ts";
import {
	chunkSize,
	EMPTY_DRAFT,
	endBefore,
	extend,
	monthsInside,
	type PageRequest,
	pageRange,
	pageWindow,
	parseCursor,
	SCAN_BUDGET,
	showCursor,
} from "../../domain/alarms/paging.ts";
import { isRead, NOTHING_READ, type ReadState } from "../../domain/alarms/read-state.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { monthEndMs, monthOf, monthStartMs } from "../../domain/time/periods.ts";
import { NOW_MS, row } from "./samples.ts";

const request = (own: Partial<PageRequest> = {}): PageRequest => ({
	userId: "u1",
	limit: 20,
	after: null,
	fromMs: 0,
	toMs: Number.MAX_SAFE_INTEGER,
	nowMs: NOW_MS,
	...own,
});

describe("a cursor", () => {
	const id = newAlarmId("u1", NOW_MS);

	test("comes back as the position it was made from", () => {
		fc.assert(
			fc.property(fc.string({ minLength: 1 }), fc.integer({ min: 0, max: 2 ** 48 - 1 }), (userId, timeMs) => {
				const last = newAlarmId(userId, timeMs);
				return parseCursor(showCursor(last), userId)?.equals(last) === true;
			}),
		);
	});

	test("of another customer is refused", () => {
		expect(parseCursor(showCursor(id), "u2")).toBeNull();
	});

	test.each([
		["empty", ""],
		["an id without its version", id.toString("base64url")],
		["of another version", Buffer.concat([Buffer.of(2), id]).toString("base64url")],
		["too short", showCursor(id).slice(0, -1)],
		["too long", `${showCursor(id)}AAAA`],
		["padded", `${showCursor(id)}=`],
		["spaced", ` ${showCursor(id)}`],
		["no base64url at all", "한글!"],
	])("that is %s is refused", (_, cursor) => {
		expect(parseCursor(cursor, "u1")).toBeNull();
	});
});

describe("the range of a page", () => {
	const contains = (own: Partial<PageRequest>, timeMs: number) => {
		const { low, high } = pageRange(request(own));
		const id = newAlarmId("u1", timeMs);
		return id.compare(low) >= 0 && id.compare(high) <= 0;
	};

	test("goes from the first to the last moment that was asked for", () => {
		const own = { fromMs: NOW_MS - 10, toMs: NOW_MS - 5 };
		expect([-11, -10, -5, -4].map((offset) => contains(own, NOW_MS + offset))).toEqual([false, true, true, false]);
	});

	test("ends a minute after now, for clocks differ, whatever was asked for", () => {
		expect([60_000, 60_001].map((offset) => contains({}, NOW_MS + offset))).toEqual([true, false]);
	});

	test("goes on behind the last id that was scanned", () => {
		const last = newAlarmId("u1", NOW_MS - 5);
		const { low } = pageRange(request({ after: last }));
		expect(low.compare(last)).toBe(1);
		expect(contains({ after: last }, NOW_MS - 4)).toBe(false);
		expect(contains({ after: last }, NOW_MS - 6)).toBe(true);
	});

	test("does not begin before the moments asked for, also with a cursor from before them", () => {
		const own = { after: newAlarmId("u1", NOW_MS), toMs: NOW_MS - 10 };
		expect(pageRange(request(own)).low).toEqual(userRange("u1", 0, NOW_MS - 10).low);
	});
});

test("the months of a page are those that overlap its time", () => {
	const held = ["2026_12", "2026_11", "2026_10", "2026_09"];
	const [from, to] = [Date.parse("2026-10-31T23:59:59.999Z"), Date.parse("2026-11-30T23:59:59.999Z")];
	expect(monthsInside(held, from, to)).toEqual(["2026_11", "2026_10"]);
	expect(monthsInside(held, from + 1, to + 1)).toEqual(["2026_12", "2026_11"]);
	expect(monthsInside(held, 0, 0)).toEqual([]);
});

describe("a page that cannot be read on into an archived month", () => {
	const ARCHIVED = "2026_08";
	const endMs = monthEndMs(ARCHIVED);
	const draftAt = (timeMs: number) => ({ ...EMPTY_DRAFT, scanned: 1, lastScanned: newAlarmId("u1", timeMs) });

	test("ends at its border, also with nothing in it; what comes next begins inside", () => {
		for (const draft of [EMPTY_DRAFT, draftAt(endMs + 1), draftAt(NOW_MS)]) {
			const ended = endBefore(ARCHIVED, draft, request());
			expect(ended).toMatchObject({ stopped: true, scanned: draft.scanned });
			const next = request({ after: ended?.lastScanned ?? null });
			expect(pageWindow(next).toMs).toBe(endMs);
			expect(pageRange(next)).toEqual(userRange("u1", 0, endMs));
			expect(endBefore(ARCHIVED, EMPTY_DRAFT, next)).toBeNull();
		}
	});

	test("goes nowhere when it begins inside", () => {
		expect(endBefore(ARCHIVED, EMPTY_DRAFT, request({ toMs: endMs }))).toBeNull();
		expect(endBefore(ARCHIVED, EMPTY_DRAFT, request({ after: newAlarmId("u1", endMs - 5) }))).toBeNull();
		expect(endBefore(ARCHIVED, EMPTY_DRAFT, request({ toMs: endMs + 1 }))).not.toBeNull();
	});

	test("ends at the last row that it has read there", () => {
		const draft = draftAt(endMs - 5);
		expect(endBefore(ARCHIVED, draft, request())).toEqual({ ...draft, stopped: true });
		expect(endBefore(ARCHIVED, draft, request({ toMs: endMs }))).toEqual({ ...draft, stopped: true });
	});

	test("the border is a position of the customer's own list", () => {
		const { lastScanned } = endBefore(ARCHIVED, EMPTY_DRAFT, request()) ?? EMPTY_DRAFT;
		expect(lastScanned && parseCursor(showCursor(lastScanned), "u1")).toEqual(lastScanned);
	});

	test("a cursor on the very last position of a month leaves that month", () => {
		const startMs = monthStartMs("2026_09");
		const last = userRange("u1", startMs, startMs).high;
		expect(pageWindow(request({ after: last })).toMs).toBe(endMs);
	});
});

describe("the next chunk", () => {
	test("is one row more than the page misses, so that the end is seen", () => {
		expect(chunkSize(request(), 0, 0)).toBe(21);
		expect(chunkSize(request(), 20, 20)).toBe(1);
	});

	test("is larger where a filter may throw most of it away", () => {
		expect(chunkSize(request({ read: false }), 0, 0)).toBe(200);
		expect(chunkSize(request({ category: "card" }), 15, 800)).toBe(200);
	});

	test("does not go beyond the budget of one request", () => {
		expect(chunkSize(request({ read: false }), 0, SCAN_BUDGET - 3)).toBe(3);
	});

	test("is never empty", () => {
		expect(chunkSize(request({ read: true }), 19, SCAN_BUDGET)).toBe(1);
	});
});

describe("a page in the making", () => {
	const rows = Array.from({ length: 5 }, (_, index) => row({ timeMs: NOW_MS - index }));

	test("goes on as long as it is not full", () => {
		const draft = extend(EMPTY_DRAFT, rows, request(), NOTHING_READ);
		expect(draft).toMatchObject({ rows, lastScanned: rows[4]?._id, scanned: 5, stopped: false });
	});

	test("that is just full does not stop: whether there is more is not known yet", () => {
		expect(extend(EMPTY_DRAFT, rows, request({ limit: 5 }), NOTHING_READ).stopped).toBe(false);
	});

	test("stops at its last row when there is one more", () => {
		const draft = extend(EMPTY_DRAFT, rows, request({ limit: 4 }), NOTHING_READ);
		expect(draft).toMatchObject({ rows: rows.slice(0, 4), lastScanned: rows[3]?._id, scanned: 4, stopped: true });
	});

	test("stops when its budget is used, full or not", () => {
		const draft = extend({ ...EMPTY_DRAFT, scanned: SCAN_BUDGET - 5 }, rows, request(), NOTHING_READ);
		expect(draft).toMatchObject({ scanned: SCAN_BUDGET, stopped: true });
	});

	test("leaves the draft it was made from as it is", () => {
		extend(EMPTY_DRAFT, rows, request(), NOTHING_READ);
		expect(EMPTY_DRAFT).toEqual({ rows: [], lastScanned: null, scanned: 0, bytes: 0, stopped: false });
	});

	test("shows neither hidden alarms nor those that are for later", () => {
		const later = row({ timeMs: NOW_MS + 5, sendAt: new Date(NOW_MS + 5) });
		const due = row({ sendAt: new Date(NOW_MS) });
		const draft = extend(EMPTY_DRAFT, [later, due, row({ hidden: true })], request(), NOTHING_READ);
		expect(draft).toMatchObject({ rows: [due], scanned: 3 });
	});

	test("shows only what its filters want", () => {
		const card = row({ category: "card" });
		const read = row({ readAt: new Date(NOW_MS) });
		const found = (own: Partial<PageRequest>) => extend(EMPTY_DRAFT, [card, read], request(own), NOTHING_READ).rows;
		expect(found({ category: "card" })).toEqual([card]);
		expect(found({ read: true })).toEqual([read]);
		expect(found({ read: false })).toEqual([card]);
		expect(found({ read: true, category: "card" })).toEqual([]);
	});
});

/** One page as the store reads it: month by month, chunk by chunk, each a bounded scan of sorted rows. */
function readPage(stored: AlarmRow[], asked: PageRequest, state: ReadState) {
	const held = [...new Set(stored.map(({ _id }) => monthOf(idTimeMs(_id))))].sort().reverse();
	let draft = EMPTY_DRAFT;
	for (const month of monthsInside(held, asked.fromMs, asked.toMs)) {
		const ofMonth = stored.filter(({ _id }) => monthOf(idTimeMs(_id)) === month);
		for (let isMore = true; isMore && !draft.stopped; ) {
			const limit = chunkSize(asked, draft.rows.length, draft.scanned);
			const { low, high } = pageRange({ ...asked, after: draft.lastScanned ?? asked.after });
			const chunk = ofMonth.filter(({ _id }) => _id.compare(low) >= 0 && _id.compare(high) <= 0).slice(0, limit);
			draft = extend(draft, chunk, asked, state);
			isMore = chunk.length === limit;
		}
		if (draft.stopped) break;
	}
	return draft;
}

/** Every page from the first to the one without a cursor. */
function walk(stored: AlarmRow[], asked: PageRequest, state: ReadState): AlarmRow[][] {
	const pages: AlarmRow[][] = [];
	for (let after: Buffer | null = null; ; ) {
		const { rows, lastScanned, stopped } = readPage(stored, { ...asked, after }, state);
		pages.push(rows);
		if (!stopped || lastScanned === null) return pages;
		after = parseCursor(showCursor(lastScanned), asked.userId);
		if (after === null || pages.length > stored.length + 2) throw new Error("the walk does not end");
	}
}

function naive(stored: AlarmRow[], asked: PageRequest, state: ReadState): AlarmRow[] {
	return stored.filter((one) => {
		const timeMs = idTimeMs(one._id);
		const isShown = !one.hidden && (one.sendAt === undefined || one.sendAt.getTime() <= asked.nowMs);
		const isInTime = timeMs >= asked.fromMs && timeMs <= asked.toMs && timeMs <= asked.nowMs + 60_000;
		const isOfCategory = asked.category === undefined || one.category === asked.category;
		return isShown && isInTime && isOfCategory && (asked.read === undefined || isRead(one, state) === asked.read);
	});
}

describe("walking all pages", () => {
	const HOUR_MS = 3_600_000;
	// Offsets crowd together at times, so that several alarms share a millisecond, and reach over three months.
	const offset = fc.oneof(
		fc.integer({ min: -3, max: 3 }),
		fc.integer({ min: -70 * 24, max: 24 }).map((h) => h * HOUR_MS),
	);
	const stored = fc.array(
		fc.record({
			offset,
			category: fc.constantFrom("card", "transfer"),
			isHidden: fc.boolean(),
			isRead: fc.boolean(),
			isForLater: fc.boolean(),
		}),
		{ maxLength: 60 },
	);
	const filters = fc.record(
		{
			category: fc.constantFrom("card", "transfer"),
			read: fc.boolean(),
			fromMs: offset.map((ms) => NOW_MS + ms),
			toMs: offset.map((ms) => NOW_MS + ms),
		},
		{ requiredKeys: [] },
	);
	const marks = fc.record({
		allBeforeMs: offset.map((ms) => NOW_MS + ms),
		categoryBeforeMs: fc.constantFrom<Record<string, number>>({}, { card: NOW_MS - HOUR_MS }),
		unread: fc.constant<ReadState["unread"]>([]),
	});

	function rowsOf(
		drafts: { offset: number; category: string; isHidden: boolean; isRead: boolean; isForLater: boolean }[],
	) {
		return drafts
			.map((draft) =>
				row({
					timeMs: NOW_MS + draft.offset,
					category: draft.category,
					...(draft.isHidden && { hidden: true as const }),
					...(draft.isRead && { readAt: new Date(NOW_MS) }),
					...(draft.isForLater && { sendAt: new Date(NOW_MS + draft.offset) }),
				}),
			)
			.sort((one, other) => one._id.compare(other._id));
	}

	test("gives exactly the wanted rows, once each and newest first", () => {
		fc.assert(
			fc.property(stored, filters, marks, fc.integer({ min: 1, max: 7 }), (drafts, filter, state, limit) => {
				const rows = rowsOf(drafts);
				const asked = request({ ...filter, limit });
				expect(walk(rows, asked, state).flat()).toEqual(naive(rows, asked, state));
			}),
			{ numRuns: 300 },
		);
	});

	test("gives no page with more rows than were asked for", () => {
		fc.assert(
			fc.property(stored, filters, fc.integer({ min: 1, max: 7 }), (drafts, filter, limit) =>
				walk(rowsOf(drafts), request({ ...filter, limit }), NOTHING_READ).every((page) => page.length <= limit),
			),
		);
	});

	test("gives a short page when the budget is used, and goes on behind it", () => {
		const rows = Array.from({ length: 2 * SCAN_BUDGET + 5 }, (_, index) =>
			row({ timeMs: NOW_MS - index, category: index === 2 * SCAN_BUDGET ? "card" : "transfer" }),
		);
		const pages = walk(rows, request({ category: "card" }), NOTHING_READ);
		expect(pages.map((page) => page.length)).toEqual([0, 0, 1]);
	});

	test("ends at once when there is nothing", () => {
		expect(walk([], request(), NOTHING_READ)).toEqual([[]]);
	});

	test("needs no empty last page when the rows fill the pages exactly", () => {
		const rows = rowsOf(
			Array.from({ length: 6 }, (_, index) => ({
				offset: -index,
				category: "card",
				isHidden: false,
				isRead: false,
				isForLater: false,
			})),
		);
		expect(walk(rows, request({ limit: 3 }), NOTHING_READ).map((page) => page.length)).toEqual([3, 3]);
	});
});

test("a page of the largest alarms comes short, with a position to go on from, so that it fits into one message of the bus", () => {
	const large = Array.from({ length: 100 }, (_, n) => row({ timeMs: NOW_MS - n, body: "가".repeat(4_000) }));
	const draft = extend(EMPTY_DRAFT, large, request({ limit: 100 }), NOTHING_READ);
	expect(draft.stopped).toBe(true);
	expect(Buffer.byteLength(JSON.stringify(draft.rows.map(({ body }) => body)))).toBeLessThan(1_000_000);
	expect(draft.lastScanned).toEqual(draft.rows.at(-1)?._id);
});
