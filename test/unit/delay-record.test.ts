import { addDelay, countOf, noDelays } from "../../domain/time/delay-histogram.ts";
import { type DelayRecord, newRecord, recentDelays, recordDelays } from "../../domain/time/delay-record.ts";
import { iso, NOW_MS } from "./samples.ts";

const MINUTE_MS = 60_000;

function record(nowMs: number, into: DelayRecord, delayMs = 7): void {
	const round = noDelays(nowMs);
	addDelay(round, delayMs);
	recordDelays(into, round, nowMs);
}

test("rounds of one minute and of the minutes before add up", () => {
	const delays = newRecord(NOW_MS);
	for (const afterMs of [0, 1, MINUTE_MS, 5 * MINUTE_MS + 59_999]) record(NOW_MS + afterMs, delays);
	expect(countOf(recentDelays(delays, NOW_MS + 5 * MINUTE_MS + 59_999))).toBe(4);
});

test("what is older than that is in the total, and in the recent delays no more", () => {
	const delays = newRecord(NOW_MS);
	record(NOW_MS, delays, 900_000);
	record(NOW_MS + 6 * MINUTE_MS, delays, 8);
	expect(recentDelays(delays, NOW_MS + 6 * MINUTE_MS)).toMatchObject({ maxMs: 8, since: iso(NOW_MS + MINUTE_MS) });
	expect(delays.total).toMatchObject({ maxMs: 900_000, since: iso(NOW_MS) });
	expect(countOf(delays.total)).toBe(2);
	expect(delays.minutes).toHaveLength(1);
});

test("a record in which nothing happens any more has no recent delays", () => {
	const delays = newRecord(NOW_MS);
	record(NOW_MS, delays);
	expect(countOf(recentDelays(delays, NOW_MS + 60 * MINUTE_MS))).toBe(0);
});

test("a young process says since when it counts", () => {
	expect(recentDelays(newRecord(NOW_MS + 5), NOW_MS + 10).since).toBe(iso(NOW_MS + 5));
});
