import { setTimeout as sleep } from "node:timers/promises";

/** What was awaited has not come in time. It may still come, and nothing is known of it. */
export class TooLate extends Error {
	override readonly name = "TooLate";
}

/** The outcome of `work`, if it comes within `limitMs`. What comes later is nobody's any more. @throws {TooLate} */
export async function inTime<T>(work: Promise<T>, limitMs: number): Promise<T> {
	const timer = new AbortController();
	const limit = sleep(limitMs, undefined, { ref: false, signal: timer.signal }).then(() => {
		throw new TooLate(`there was no answer within ${limitMs} ms`);
	});
	limit.catch(() => undefined);
	try {
		return await Promise.race([work, limit]);
	} finally {
		timer.abort();
	}
}

/** What `work` gives within `limitMs`, else null: it failed or is late. For views that are better with a gap than not at all. */
export function answerWithin<T>(limitMs: number, work: Promise<T>): Promise<T | null> {
	return inTime(work, limitMs).catch(() => null);
}
