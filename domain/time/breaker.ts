/**
 * When to stop asking a server that does not answer: after the first silence nobody waits for it, and from time to time one trial
 * finds out whether it is back. Plain data in, plain data out.
 */
export interface Breaker {
	/** Silences in a row; none means closed. */
	failures: number;
	/** Open until then: nobody is let through. */
	untilMs: number;
}

export const CLOSED: Breaker = { failures: 0, untilMs: 0 };

interface BreakerPace {
	firstMs: number;
	mostMs: number;
}

export function isClosed({ failures }: Breaker): boolean {
	return failures === 0;
}

/** Whether an attempt may be made now; of an open one that is due, exactly one: the trial holds the others off. */
export function attempt(breaker: Breaker, nowMs: number, pace: BreakerPace): { may: boolean; next: Breaker } {
	if (isClosed(breaker)) return { may: true, next: breaker };
	if (nowMs < breaker.untilMs) return { may: false, next: breaker };
	return { may: true, next: { ...breaker, untilMs: nowMs + restMs(breaker.failures, pace) } };
}

/** After another silence: open, longer each time. */
export function opened(breaker: Breaker, nowMs: number, pace: BreakerPace): Breaker {
	return { failures: breaker.failures + 1, untilMs: nowMs + restMs(breaker.failures + 1, pace) };
}

function restMs(failures: number, { firstMs, mostMs }: BreakerPace): number {
	return Math.min(firstMs * 2 ** Math.min(failures - 1, 20), mostMs);
}
