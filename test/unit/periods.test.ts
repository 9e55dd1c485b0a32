import fc from "fast-check";
import {
	addDays,
	addMonths,
	dayOf,
	dayStartMs,
	daysBefore,
	daysFrom,
	daysUntil,
	monthEndMs,
	monthOf,
	monthStartMs,
	monthsFrom,
} from "../../domain/time/periods.ts";
import { DAY_MS, NOW_MS } from "./samples.ts";

const time = fc.integer({ min: 0, max: Date.parse("2199-12-31T23:59:59.999Z") });

test("a moment lies in its month of UTC, with a month of two digits", () => {
	expect(monthOf(Date.parse("2026-02-28T23:59:59.999Z"))).toBe("2026_02");
	expect(monthOf(Date.parse("2026-03-01T00:00:00.000Z"))).toBe("2026_03");
});

test("a moment lies in its day of UTC, with a day of two digits", () => {
	expect(dayOf(Date.parse("2026-11-05T23:59:59.999Z"))).toBe("2026_11_05");
});

test("a month holds a moment exactly from its first to its last millisecond", () => {
	fc.assert(
		fc.property(time, (timeMs) => {
			const month = monthOf(timeMs);
			return (
				monthStartMs(month) <= timeMs &&
				timeMs <= monthEndMs(month) &&
				monthOf(monthStartMs(month) - 1) !== month &&
				monthOf(monthEndMs(month) + 1) !== month
			);
		}),
	);
});

test("months follow each other without a gap", () => {
	fc.assert(
		fc.property(time, (timeMs) => {
			const month = monthOf(timeMs);
			return monthStartMs(addMonths(month, 1)) === monthEndMs(month) + 1;
		}),
	);
});

test("a leap year's February ends on the 29th", () => {
	expect(dayOf(monthEndMs("2028_02"))).toBe("2028_02_29");
});

test("adding months goes over the end of a year, in both directions", () => {
	expect(addMonths("2026_12", 1)).toBe("2027_01");
	expect(addMonths("2027_01", -1)).toBe("2026_12");
	expect(addMonths("2026_11", 14)).toBe("2028_01");
	expect(addMonths("2026_11", 0)).toBe("2026_11");
});

test("names of months stand in the order of time", () => {
	fc.assert(fc.property(time, time, (one, other) => one > other || monthOf(one) <= monthOf(other)));
});

test("the months ahead begin with the month of now", () => {
	expect(monthsFrom(NOW_MS, 2)).toEqual(["2026_11", "2026_12", "2027_01"]);
	expect(monthsFrom(NOW_MS, 0)).toEqual(["2026_11"]);
});

test("the months ahead of the 31st skip no short month", () => {
	expect(monthsFrom(Date.parse("2027-01-31T12:00:00Z"), 2)).toEqual(["2027_01", "2027_02", "2027_03"]);
});

test("the days ahead begin with the day of now and go over the end of a month", () => {
	expect(daysFrom(Date.parse("2026-11-29T23:59:59Z"), 2)).toEqual(["2026_11_29", "2026_11_30", "2026_12_01"]);
});

test("days before now are days of 24 hours", () => {
	expect(daysBefore(NOW_MS, 7)).toBe(NOW_MS - 7 * DAY_MS);
});

test("a day's start lies in the day, and a millisecond before it in the day before", () => {
	fc.assert(
		fc.property(time, (timeMs) => {
			const startMs = dayStartMs(dayOf(timeMs));
			expect(startMs <= timeMs && timeMs < startMs + DAY_MS).toBe(true);
			expect(dayOf(startMs - 1)).toBe(addDays(dayOf(timeMs), -1));
		}),
	);
});

test("the days until another go over the end of a month, and are none backwards", () => {
	expect(daysUntil("2026_11_29", "2026_12_02")).toEqual(["2026_11_29", "2026_11_30", "2026_12_01"]);
	expect(daysUntil("2026_11_29", "2026_11_29")).toEqual([]);
	expect(daysUntil("2026_11_29", "2026_11_01")).toEqual([]);
});
