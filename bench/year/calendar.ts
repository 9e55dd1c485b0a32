import { addMonths, type Month, monthEndMs, monthOf, monthStartMs } from "../../domain/time/periods.ts";

/** When a bank's alarms come. */

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** Of the day in Seoul: nearly nothing at night, most at lunch and after work. */
const HOURS = [2, 1, 1, 1, 1, 2, 5, 9, 11, 10, 10, 11, 14, 12, 10, 10, 10, 11, 14, 13, 11, 9, 7, 4];
const SEOUL_MS = 9 * HOUR_MS;
const WEEKDAYS = [0.6, 1, 1, 1, 1, 1.1, 0.8];
/** Salaries are paid, and cards and loans collected. */
const PAYDAYS: Record<number, number> = { 10: 1.8, 21: 1.6, 25: 2.6 };
const GROWTH = 1.015;
const DECEMBER = 1.2;

/** `count` months that are over, oldest first. */
export function monthsBefore(nowMs: number, count: number): Month[] {
	return Array.from({ length: count }, (_, at) => addMonths(monthOf(nowMs), at - count));
}

/** How `total` alarms fall to the months: more and more customers use the app, and December is busy. */
export function shareOut(months: Month[], total: number): Map<Month, number> {
	const weights = months.map((month, at) => GROWTH ** at * (month.endsWith("_12") ? DECEMBER : 1));
	return new Map(months.map((month, at) => [month, Math.round((total * (weights[at] ?? 0)) / sum(weights))]));
}

/** The moments of so many alarms of a month, in their order. `random` gives numbers from 0 to 1. */
export function momentsOf(month: Month, count: number, random: () => number): number[] {
	const days = daysOf(month);
	const weights = days.map(dayWeight);
	const moments = days.flatMap((dayMs, at) => {
		const many = Math.floor((count * sum(weights.slice(0, at + 1))) / sum(weights));
		const before = Math.floor((count * sum(weights.slice(0, at))) / sum(weights));
		return Array.from({ length: many - before }, () => dayMs + timeOfDay(random));
	});
	return moments.sort((one, other) => one - other);
}

function daysOf(month: Month): number[] {
	const count = Math.round((monthEndMs(month) + 1 - monthStartMs(month)) / DAY_MS);
	return Array.from({ length: count }, (_, at) => monthStartMs(month) + at * DAY_MS);
}

function dayWeight(dayMs: number): number {
	const day = new Date(dayMs);
	return (WEEKDAYS[day.getUTCDay()] ?? 1) * (PAYDAYS[day.getUTCDate()] ?? 1);
}

function timeOfDay(random: () => number): number {
	const mark = random() * sum(HOURS);
	const hour = HOURS.findIndex((_, at) => mark < sum(HOURS.slice(0, at + 1)));
	const inSeoulMs = (Math.max(hour, 0) + random()) * HOUR_MS;
	return Math.floor((inSeoulMs - SEOUL_MS + DAY_MS) % DAY_MS);
}

function sum(values: number[]): number {
	return values.reduce((all, value) => all + value, 0);
}
