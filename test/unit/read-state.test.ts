import fc from "fast-check";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import {
	categoriesAhead,
	hasRoomForCategory,
	isBehind,
	isRead,
	NOTHING_READ,
	type ReadState,
	summarize,
} from "../../domain/alarms/read-state.ts";
import { NOW_MS, row } from "./samples.ts";

const state = (own: Partial<ReadState> = {}): ReadState => ({ ...NOTHING_READ, ...own });

describe("an alarm", () => {
	test("is unread as long as nothing was marked", () => {
		expect(isRead(row(), NOTHING_READ)).toBe(false);
		expect(isRead(row({ timeMs: 0 }), NOTHING_READ)).toBe(false);
	});

	test("is read once it was marked by itself", () => {
		expect(isRead(row({ readAt: new Date(NOW_MS) }), NOTHING_READ)).toBe(true);
	});

	test("is read at or before the watermark of all, and unread after it", () => {
		const marks = state({ allBeforeMs: NOW_MS });
		expect([-1, 0, 1].map((offset) => isRead(row({ timeMs: NOW_MS + offset }), marks))).toEqual([true, true, false]);
	});

	test("is read at or before the watermark of its category, and of no other", () => {
		const marks = state({ categoryBeforeMs: { transfer: NOW_MS } });
		expect([0, 1].map((offset) => isRead(row({ timeMs: NOW_MS + offset }), marks))).toEqual([true, false]);
		expect(isRead(row({ category: "card" }), marks)).toBe(false);
	});

	test("is read behind whichever watermark is the later", () => {
		const marks = state({ allBeforeMs: NOW_MS, categoryBeforeMs: { transfer: NOW_MS - 5, card: NOW_MS + 5 } });
		expect(isBehind(newAlarmId("u1", NOW_MS), "transfer", marks)).toBe(true);
		expect(isBehind(newAlarmId("u1", NOW_MS + 5), "card", marks)).toBe(true);
		expect(isBehind(newAlarmId("u1", NOW_MS + 5), "transfer", marks)).toBe(false);
	});

	test("that was marked unread again is unread, behind a watermark and after having been read", () => {
		const one = row({ readAt: new Date(NOW_MS) });
		const marks = state({ allBeforeMs: NOW_MS, unread: [{ id: Buffer.from(one._id), category: "transfer" }] });
		expect(isRead(one, marks)).toBe(false);
		expect(isRead(row(), marks)).toBe(true);
	});

	test("of a category that is named like a thing of the language has no watermark", () => {
		expect(isBehind(newAlarmId("u1", 0), "constructor", NOTHING_READ)).toBe(false);
	});
});

test("a count leaves out only the categories whose watermark is beyond that of all", () => {
	const marks = state({ allBeforeMs: 10, categoryBeforeMs: { behind: 9, same: 10, ahead: 11 } });
	expect(categoriesAhead(marks)).toEqual([["ahead", 11]]);
	expect(categoriesAhead(NOTHING_READ)).toEqual([]);
});

describe("the badge", () => {
	test("is nothing when nothing is unread", () => {
		expect(summarize([], 100)).toEqual({ count: 0, capped: false, byCategory: {} });
	});

	test("sums by category", () => {
		expect(summarize(["card", "transfer", "card"], 100)).toEqual({
			count: 3,
			capped: false,
			byCategory: { card: 2, transfer: 1 },
		});
	});

	test("is exact up to the cap, and says when there is more", () => {
		expect(summarize(Array(100).fill("card"), 100)).toMatchObject({ count: 100, capped: false });
		expect(summarize(Array(101).fill("card"), 100)).toMatchObject({ count: 100, capped: true });
	});

	test("has categories that add up to its count", () => {
		const categories = fc.array(fc.constantFrom("card", "transfer", "loan"), { maxLength: 40 });
		fc.assert(
			fc.property(categories, fc.integer({ min: 1, max: 30 }), (found, cap) => {
				const { count, byCategory } = summarize(found, cap);
				return Object.values(byCategory).reduce((sum, one) => sum + one, 0) === count;
			}),
		);
	});
});

test("a category may be called like a member of every object", () => {
	expect(summarize(["constructor"], 100).byCategory).toEqual({ constructor: 1 });
	expect(hasRoomForCategory(state({}), "constructor")).toBe(true);
	const full = Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`c${n}`, 1]));
	expect(hasRoomForCategory(state({ categoryBeforeMs: full }), "constructor")).toBe(false);
	expect(isBehind(row()._id, "constructor", state({ categoryBeforeMs: full }))).toBe(false);
});
