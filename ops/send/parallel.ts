import { setTimeout as sleep } from "node:timers/promises";

/** Does `deed` on each of `things`, `concurrency` at a time, and takes the next thing only when there is a hand free for it. */
export async function inParallel<T>(
	things: AsyncIterator<T> | Iterator<T>,
	concurrency: number,
	work: (thing: T) => Promise<void>,
): Promise<void> {
	const hand = async () => {
		for (let next = await things.next(); !next.done; next = await things.next()) await work(next.value);
	};
	await Promise.all(Array.from({ length: concurrency }, hand));
}

/** Ends early, and quietly, when the signal comes. */
export async function pause(timeMs: number, signal: AbortSignal): Promise<void> {
	if (timeMs > 0) await sleep(timeMs, undefined, { signal }).catch(() => undefined);
}
