import { setTimeout as sleep } from "node:timers/promises";
import { CLUSTER_DATABASE } from "../domain/holdings.ts";
import { feel, NO_PULSE, type Pulse, waitAfter } from "../domain/live-traffic.ts";
import { type Flow, flowed, nextTurn, type Pace } from "../domain/pace.ts";
import type { Cluster } from "./cluster.ts";
import { MAP_ID } from "./routing-map.ts";

/** How fast a mover may read: so many rows per second, and slower while the cluster's readers are held up. */
export class MovePace {
	readonly #cluster: Cluster;
	readonly #signal: AbortSignal;
	#pace: Pace;
	#hurry = new AbortController();
	#pulse: Pulse = NO_PULSE;
	#flow: Flow = { perSecond: null, atMs: performance.now() };

	constructor(cluster: Cluster, rowsPerSecond: number, signal: AbortSignal) {
		this.#cluster = cluster;
		this.#signal = signal;
		// Nothing is saved up: a second of rows at once is what readers would feel.
		this.#pace = { perSecond: rowsPerSecond, nextAtMs: performance.now() };
	}

	/** Rows that went by lately. */
	get perSecond(): number {
		return Math.round(this.#flow.perSecond ?? 0);
	}

	/** From now on: also a chunk that waits by the old rate, which may be for minutes, goes. */
	setRate(rowsPerSecond: number): void {
		if (rowsPerSecond === this.#pace.perSecond) return;
		this.#pace = { perSecond: rowsPerSecond, nextAtMs: performance.now() };
		this.#hurry.abort();
		this.#hurry = new AbortController();
	}

	/** Waits until so many more rows may be read. @throws the signal's reason once the work is to end. */
	async rows(count: number): Promise<void> {
		await this.#giveWay(count);
		this.#flow = flowed(this.#flow, performance.now(), count);
	}

	async #giveWay(count: number): Promise<void> {
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
		const signal = AbortSignal.any([this.#signal, this.#hurry.signal]);
		await sleep(ms, undefined, { signal }).catch(() => this.#signal.throwIfAborted());
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
