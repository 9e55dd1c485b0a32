/** A token bucket in terms of time: so many turns a second, of which those of one second can be saved up. */
export interface Pace {
	perSecond: number;
	/** When the turn after the last one given comes up. */
	nextAtMs: number;
}

const SECOND_MS = 1_000;

/** How fast something goes by: the seconds that have just passed count most. */
export interface Flow {
	perSecond: number | null;
	atMs: number;
}

const MEMORY_MS = 5_000;

/** The flow after `count` more since it was looked at last. */
export function flowed({ perSecond, atMs }: Flow, nowMs: number, count: number): Flow {
	const spentMs = Math.max(nowMs - atMs, 1);
	const now = (count * SECOND_MS) / spentMs;
	const weight = 1 - Math.exp(-spentMs / MEMORY_MS);
	return { perSecond: perSecond === null ? now : perSecond + (now - perSecond) * weight, atMs: nowMs };
}

/** The next turn, or so many at once: how long to wait for it, and the pace once it is taken. */
export function nextTurn({ perSecond, nextAtMs }: Pace, nowMs: number, turns = 1): { waitMs: number; taken: Pace } {
	const stepMs = (SECOND_MS * turns) / perSecond;
	const atMs = Math.max(nextAtMs, nowMs - SECOND_MS + stepMs);
	return { waitMs: Math.max(atMs - nowMs, 0), taken: { perSecond, nextAtMs: atMs + stepMs } };
}
