import { setTimeout as sleep } from "node:timers/promises";

/** What `work` gives within `limitMs`, else null: it failed or is late. For views that are better with a gap than not at all. */
export function answerWithin<T>(limitMs: number, work: Promise<T>): Promise<T | null> {
	return Promise.race([work.catch(() => null), sleep(limitMs, null, { ref: false })]);
}
