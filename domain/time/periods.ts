/** Months and days in UTC, as the parts of collection names: "2026_11", "2026_11_22". */

const DAY_MS = 86_400_000;

export type Month = string;

export function monthOf(timeMs: number): Month {
	const date = new Date(timeMs);
	return `${date.getUTCFullYear()}_${two(date.getUTCMonth() + 1)}`;
}

export function dayOf(timeMs: number): string {
	return `${monthOf(timeMs)}_${two(new Date(timeMs).getUTCDate())}`;
}

/** First millisecond of a month. */
export function monthStartMs(month: Month): number {
	const [year, number] = parts(month);
	return Date.UTC(year, number - 1, 1);
}

/** Last millisecond of a month. */
export function monthEndMs(month: Month): number {
	return monthStartMs(addMonths(month, 1)) - 1;
}

export function addMonths(month: Month, count: number): Month {
	const [year, number] = parts(month);
	return monthOf(Date.UTC(year, number - 1 + count, 1));
}

/** The month of `nowMs` and the `ahead` months after it. */
export function monthsFrom(nowMs: number, ahead: number): Month[] {
	return Array.from({ length: ahead + 1 }, (_, index) => addMonths(monthOf(nowMs), index));
}

/** The day of `nowMs` and the `ahead` days after it. */
export function daysFrom(nowMs: number, ahead: number): string[] {
	return Array.from({ length: ahead + 1 }, (_, index) => dayOf(nowMs + index * DAY_MS));
}

/** First millisecond of a day. */
export function dayStartMs(day: string): number {
	return Date.parse(`${day.replaceAll("_", "-")}T00:00:00Z`);
}

export function addDays(day: string, count: number): string {
	return dayOf(dayStartMs(day) + count * DAY_MS);
}

/** The days from `first` on, without `end`. */
export function daysUntil(first: string, end: string): string[] {
	const count = (dayStartMs(end) - dayStartMs(first)) / DAY_MS;
	return Array.from({ length: Math.max(count, 0) }, (_, index) => addDays(first, index));
}

/** The moment behind an ISO text in UTC; NaN for one that does not exist (2026-02-30, 24:00), which Date.parse would roll over. */
export function parseMoment(text: string): number {
	const timeMs = Date.parse(text);
	// Most moments cannot be rolled over: then the check would only cost.
	if (text.charAt(8) < "3" && text.slice(8, 10) !== "29" && text.charAt(11) < "2") return timeMs;
	return Number.isNaN(timeMs) || new Date(timeMs).toISOString().slice(0, 13) !== text.slice(0, 13)
		? Number.NaN
		: timeMs;
}

export function daysBefore(nowMs: number, days: number): number {
	return nowMs - days * DAY_MS;
}

function parts(month: Month): [year: number, month: number] {
	const [year, number] = month.split("_").map(Number);
	return [year ?? Number.NaN, number ?? Number.NaN];
}

function two(value: number): string {
	return String(value).padStart(2, "0");
}
