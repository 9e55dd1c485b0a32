import { setTimeout as sleep } from "node:timers/promises";

/** Polls until `probe` gives something other than undefined, null or false. Tests wait for a condition, never for a time. */
export async function eventually<T>(
	probe: () => Promise<T> | T,
	what = "the condition",
	limitMs = 45_000,
): Promise<NonNullable<T>> {
	const endMs = performance.now() + limitMs;
	for (let last: unknown = "never true"; ; ) {
		try {
			const found = await probe();
			if (found !== undefined && found !== null && found !== false) return found;
			last = found;
		} catch (error) {
			last = error;
		}
		if (performance.now() > endMs) throw new Error(`${what} did not come within ${limitMs} ms; last: ${last}`);
		await sleep(20);
	}
}
