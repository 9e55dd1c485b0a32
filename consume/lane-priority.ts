import { setTimeout as sleep } from "node:timers/promises";

/**
 * Of two kinds of work in one process one has the right of way: before each step the other waits until the first is done, but never
 * longer than a moment, so that it goes on also beside a first that never ends.
 */
const MOST_WAIT_MS = 25;
/** So long after the last of it, work with the right of way is expected again. */
const EXPECTED_MS = 1_000;

export class LanePriority {
	#running = 0;
	#lastMs = Number.NEGATIVE_INFINITY;
	#clear: PromiseWithResolvers<void> | null = null;

	/** Does work that has the right of way. */
	async first<R>(work: () => Promise<R>): Promise<R> {
		this.#running++;
		try {
			return await work();
		} finally {
			this.#running--;
			this.#lastMs = performance.now();
			if (this.#running === 0) this.#release();
		}
	}

	/** True while work with the right of way is there or was a moment ago: then steps should be small. */
	get isExpected(): boolean {
		return this.#running > 0 || performance.now() - this.#lastMs < EXPECTED_MS;
	}

	/** Before a step of the other work. */
	async yieldTo(): Promise<void> {
		if (this.#running === 0) return;
		this.#clear ??= Promise.withResolvers();
		await Promise.race([this.#clear.promise, sleep(MOST_WAIT_MS, undefined, { ref: false })]);
	}

	#release(): void {
		this.#clear?.resolve();
		this.#clear = null;
	}
}
