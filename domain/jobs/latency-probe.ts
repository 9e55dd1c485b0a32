/** Whether readers are held up just now: a tiny read takes several times as long as at its best. Background work then waits. */
export interface LatencyBaseline {
	/** Creeps up with every reading, so that one lucky reading does not make all that follow look slow. */
	bestMs: number;
}

export const NO_BASELINE: LatencyBaseline = { bestMs: Number.POSITIVE_INFINITY };

const SLOW = 4;
/** Below this nobody is held up, whatever the best was. */
const LEAST_SLOW_MS = 5;
const CREEP = 1.02;

export function observe({ bestMs }: LatencyBaseline, readMs: number): { baseline: LatencyBaseline; isSlow: boolean } {
	const isSlow = readMs > Math.max(bestMs * SLOW, LEAST_SLOW_MS);
	return { baseline: { bestMs: Math.min(bestMs * CREEP, readMs) }, isSlow };
}

const FIRST_WAIT_MS = 50;
const MOST_WAITS = 5;

/** How long to wait after the `slow`-th slow reading in a row (from 1); null: long enough, go on. 1.55 s at most in all. */
export function waitAfter(slow: number): number | null {
	return slow > MOST_WAITS ? null : FIRST_WAIT_MS * 2 ** (slow - 1);
}
