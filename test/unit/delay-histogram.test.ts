import fc from "fast-check";
import type { DelayCounts } from "../../contracts/lag.ts";
import {
	addDelay,
	countOf,
	DELAY_BOUNDS_MS,
	mergeDelays,
	noDelays,
	quantileMs,
	summaryOf,
} from "../../domain/time/delay-histogram.ts";
import { iso, NOW_MS, SECOND_MS } from "./samples.ts";

function of(...delaysMs: number[]): DelayCounts {
	const delays = noDelays(NOW_MS);
	for (const delayMs of delaysMs) addDelay(delays, delayMs);
	return delays;
}
const delays = fc.array(fc.integer({ min: 0, max: 10_000_000 }), { minLength: 1, maxLength: 50 });

test("the bounds grow, from 5 ms to an hour", () => {
	expect([...DELAY_BOUNDS_MS].sort((one, other) => one - other)).toEqual(DELAY_BOUNDS_MS);
	expect([DELAY_BOUNDS_MS[0], DELAY_BOUNDS_MS.at(-1)]).toEqual([5, 3_600_000]);
});

describe("a delay", () => {
	test.each([
		[0, 0],
		[5, 0],
		[6, 1],
		[10, 1],
		[3_600_000, DELAY_BOUNDS_MS.length - 1],
		[3_600_001, DELAY_BOUNDS_MS.length],
	])("of %d ms counts in bucket %d and in no other", (delayMs, bucket) => {
		expect(of(delayMs).counts.flatMap((count, at) => (count === 0 ? [] : [[at, count]]))).toEqual([[bucket, 1]]);
	});

	test("below zero is none: clocks differ", () => {
		expect(of(-30)).toEqual(of(0));
	});

	test("adds to the sum, and the longest is kept", () => {
		expect(of(7, 40, 12)).toMatchObject({ sumMs: 59, maxMs: 40 });
	});
});

describe("what nodes have counted adds up", () => {
	test("to what one node would have counted", () => {
		fc.assert(
			fc.property(delays, delays, (one, other) => {
				expect(mergeDelays(of(...one), of(...other))).toEqual(of(...one, ...other));
			}),
		);
	});

	test("since the earlier beginning, and leaves both as they were", () => {
		const [early, late] = [noDelays(NOW_MS - SECOND_MS), of(3)];
		expect(mergeDelays(late, early).since).toBe(iso(NOW_MS - SECOND_MS));
		expect(mergeDelays(early, late).since).toBe(iso(NOW_MS - SECOND_MS));
		expect([early, late]).toEqual([noDelays(NOW_MS - SECOND_MS), of(3)]);
	});
});

describe("a quantile", () => {
	test("of nothing is not known", () => {
		expect(quantileMs(of(), 0.5)).toBeNull();
	});

	test("is interpolated within its bucket", () => {
		const even = of(...Array(50).fill(20), ...Array(50).fill(50));
		expect(quantileMs(even, 0.5)).toBe(20);
		expect(quantileMs(even, 0.75)).toBe(35);
		expect(quantileMs(even, 1)).toBe(50);
	});

	test("is never beyond the longest delay", () => {
		expect(quantileMs(of(101), 0.99)).toBeCloseTo(101, 1);
		expect(quantileMs(of(9_000_000), 1)).toBe(9_000_000);
	});

	test("lies in the bucket of the true one", () => {
		fc.assert(
			fc.property(delays, fc.constantFrom(0.01, 0.5, 0.99, 1), (some, share) => {
				const sorted = [...some].sort((one, other) => one - other);
				const truth = sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
				const found = quantileMs(of(...some), share) ?? -1;
				const bucket = of(truth).counts.indexOf(1);
				expect(found).toBeGreaterThanOrEqual(DELAY_BOUNDS_MS[bucket - 1] ?? 0);
				expect(found).toBeLessThanOrEqual(DELAY_BOUNDS_MS[bucket] ?? Math.max(...some));
			}),
		);
	});
});

test("a summary of nothing knows no delay, one of something is in whole ms", () => {
	expect(summaryOf(of())).toEqual({ since: iso(NOW_MS), count: 0, p50Ms: null, p99Ms: null, maxMs: null });
	expect(summaryOf(of(1, 2, 3))).toEqual({ since: iso(NOW_MS), count: 3, p50Ms: 2, p99Ms: 3, maxMs: 3 });
	expect(countOf(of(1, 2, 3))).toBe(3);
});
