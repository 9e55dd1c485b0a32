import { setTimeout as sleep } from "node:timers/promises";
import { CLUSTER_DATABASE } from "../domain/holdings.ts";
import { feel, NO_PULSE, type Pulse, waitAfter } from "../domain/live-traffic.ts";
import { nextTurn, type Pace } from "../domain/pace.ts";
import type { Cluster } from "./cluster.ts";
import { MAP_ID } from "./routing-map.ts";

/** How fast a mover may read: so many rows per second, and slower while the cluster's readers are held up. */
export class MovePace {
	readonly #cluster: Cluster;
	readonly #signal: AbortSignal;
	#pace: Pace;
	#pulse: Pulse = NO_PULSE;

	constructor(cluster: Cluster, rowsPerSecond: number, signal: AbortSignal) {
		this.#cluster = cluster;
		this.#signal = signal;
		// Nothing is saved up: a second of rows at once is what readers would feel.
		this.#pace = { perSecond: rowsPerSecond, nextAtMs: performance.now() };
	}

	/** From the next chunk on. */
	setRate(rowsPerSecond: number): void {
		this.#pace = { ...this.#pace, perSecond: rowsPerSecond };
	}

	/** Waits until so many more rows may be read. @throws the signal's reason once the work is to end. */
	async rows(count: number): Promise<void> {
		const { waitMs, taken } = nextTurn(this.#pace, performance.now(), count);
		this.#pace = taken;
		await this.#wait(waitMs);
		for (let slow = 1; await this.#isSlow(); slow++) {
			const afterMs = waitAfter(slow);
			if (afterMs === null) return;
			await this.#wait(afterMs);
		}
	}

	async #wait(ms: number): Promise<void> {
		this.#signal.throwIfAborted();
		if (ms <= 0) return;
		await sleep(ms, undefined, { signal: this.#signal }).catch(() => this.#signal.throwIfAborted());
	}

	/** By a read of one small row. A cluster that does not answer is for the work itself to find out. */
	async #isSlow(): Promise<boolean> {
		const askedMs = performance.now();
		const filter = { _id: MAP_ID };
		const tiny = { find: "documents", filter, projection: { _id: 1 }, limit: 1, singleBatch: true };
		if ((await this.#cluster.read(CLUSTER_DATABASE, tiny).catch(() => null)) === null) return false;
		const { pulse, isSlow } = feel(this.#pulse, performance.now() - askedMs);
		this.#pulse = pulse;
		return isSlow;
	}
}
