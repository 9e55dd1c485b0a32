import { addMonths, type Month, monthOf, monthStartMs } from "../../domain/time/periods.ts";

/**
 * The one place where tests take their present from. A test of pure code has a fixed moment. A test whose servers compare clocks has the
 * real one, by a name that says so, and computes what it expects with the product's own rules of periods.
 */

const DAY_MS = 86_400_000;

/** Noon in the middle of a month of 30 days: no edge is near. */
export const NOW_MS = Date.parse("2026-11-15T12:00:00.000Z");

/** Moments at which counting by hand goes wrong. */
export const EDGES = {
	firstDay: Date.parse("2026-11-01T00:00:00.000Z"),
	lastDay: Date.parse("2026-11-30T12:00:00.000Z"),
	lastDayOf31: Date.parse("2027-01-31T12:00:00.000Z"),
	february28: Date.parse("2027-02-28T12:00:00.000Z"),
	february29: Date.parse("2028-02-29T12:00:00.000Z"),
	december31: Date.parse("2026-12-31T12:00:00.000Z"),
	secondBeforeMidnight: Date.parse("2026-11-30T23:59:59.000Z"),
} as const;

/** The clock of this machine: for what servers or other processes compare with theirs, and for ids. */
export function realNowMs(): number {
	return Date.now();
}

export function realNow(): Date {
	return new Date(realNowMs());
}

/** The month that is `ahead` months from the present one of this machine. */
export function realMonth(ahead = 0): Month {
	return addMonths(monthOf(realNowMs()), ahead);
}

/** Noon of the middle day of a month. */
export function middleOf(month: Month): number {
	return monthStartMs(month) + 14 * DAY_MS + DAY_MS / 2;
}

/** The middle of the month after that of `nowMs`: behind exactly one end of a month, and two weeks behind `nowMs` at least. */
export function behindMonthEnd(nowMs: number): number {
	return middleOf(addMonths(monthOf(nowMs), 1));
}
