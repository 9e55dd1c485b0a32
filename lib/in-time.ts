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
