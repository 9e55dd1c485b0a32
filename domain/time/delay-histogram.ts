import type { DelayCounts, DelaySummary } from "../../contracts/lag.ts";

/**
 * Delays from acceptance to the slot, in fixed buckets: the same on every node, so that those of several nodes add up. A delay counts in
 * the first bucket whose bound is not below it; one beyond the last bound counts in a bucket of its own.
 */
export const DELAY_BOUNDS_MS = [
	5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000,
] as const;

export function noDelays(sinceMs: number): DelayCounts {
	return { since: new Date(sinceMs).toISOString(), counts: DELAY_BOUNDS_MS.map(() => 0).concat(0), sumMs: 0, maxMs: 0 };
}

/** Counts one delay into `delays`. Clocks differ a little: less than none is none. */
export function addDelay(delays: DelayCounts, delayMs: number): void {
	const atLeastNone = Math.max(delayMs, 0);
	const bucket = bucketOf(atLeastNone);
	delays.counts[bucket] = (delays.counts[bucket] ?? 0) + 1;
	delays.sumMs += atLeastNone;
	delays.maxMs = Math.max(delays.maxMs, atLeastNone);
}

/** From the front: most delays are short, and a search by halves would be slower. */
function bucketOf(delayMs: number): number {
	let bucket = 0;
	while (bucket < DELAY_BOUNDS_MS.length && delayMs > (DELAY_BOUNDS_MS[bucket] as number)) bucket++;
	return bucket;
}

/** All of both, since the earlier of them. */
export function mergeDelays(one: DelayCounts, other: DelayCounts): DelayCounts {
	return {
		since: one.since < other.since ? one.since : other.since,
		counts: one.counts.map((count, bucket) => count + (other.counts[bucket] ?? 0)),
		sumMs: one.sumMs + other.sumMs,
		maxMs: Math.max(one.maxMs, other.maxMs),
	};
}

export function countOf({ counts }: DelayCounts): number {
	return counts.reduce((sum, count) => sum + count, 0);
}

/** The delay that `share` (0 to 1) of the alarms did not exceed, interpolated within its bucket. Null when there are none. */
export function quantileMs(delays: DelayCounts, share: number): number | null {
	const total = countOf(delays);
	if (total === 0) return null;
	const rank = share * total;
	let below = 0;
	for (const [bucket, count] of delays.counts.entries()) {
		if (count > 0 && below + count >= rank) return within(bucket, (rank - below) / count, delays.maxMs);
		below += count;
	}
	return delays.maxMs;
}

/** The longest delay is known, and bounds the bucket it is in. */
function within(bucket: number, part: number, maxMs: number): number {
	const low = DELAY_BOUNDS_MS[bucket - 1] ?? 0;
	const high = Math.min(DELAY_BOUNDS_MS[bucket] ?? maxMs, maxMs);
	return low + (high - low) * part;
}

export function summaryOf(delays: DelayCounts): DelaySummary {
	const count = countOf(delays);
	const [p50Ms, p99Ms] = [quantileMs(delays, 0.5), quantileMs(delays, 0.99)].map(rounded);
	return {
		since: delays.since,
		count,
		p50Ms: p50Ms ?? null,
		p99Ms: p99Ms ?? null,
		maxMs: count === 0 ? null : delays.maxMs,
	};
}

function rounded(ms: number | null): number | null {
	return ms === null ? null : Math.round(ms);
}
