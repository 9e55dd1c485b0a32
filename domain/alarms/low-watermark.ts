import { LIMITS } from "../../contracts/alarm.ts";
import { idTimeMs } from "./ids.ts";

/** Publish deadline and the clock difference that is still ready, with room to spare. */
export const MARGIN_MS = 10_000;

/** Acceptance time of the oldest alarm in a stream, with what is parked there, or in an outbox: null when it is empty. */
export interface Backlog {
	oldestMs: number | null;
}

/** No alarm accepted before this moment is still on its way. `askedMs` is when the backlogs were asked for. */
export function lowWatermark(backlogs: Backlog[], askedMs: number): number {
	return Math.min(askedMs, ...backlogs.map(({ oldestMs }) => oldestMs ?? askedMs)) - MARGIN_MS;
}

/** The time of an id is that of `sendAt`, where there is one. */
const MOST_AHEAD_MS = LIMITS.sendAheadDays * 86_400_000 + MARGIN_MS;

/** Whether an id without a slot may still be on its way. Further ahead than `sendAt` may be, or older than the watermark: it never was. */
export function mayBePending(id: Uint8Array, watermarkMs: number | null, nowMs: number): boolean {
	const timeMs = idTimeMs(id);
	return timeMs <= nowMs + MOST_AHEAD_MS && (watermarkMs === null || timeMs >= watermarkMs);
}
