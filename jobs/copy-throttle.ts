import { setTimeout as sleep } from "node:timers/promises";
import { type LatencyBaseline, NO_BASELINE, observe, waitAfter } from "../domain/jobs/latency-probe.ts";
import { CLUSTER_DATABASE } from "../domain/routing/collection-catalog.ts";
import { type Flow, flowed, nextTurn, type Pace } from "../domain/time/rate-limit.ts";
import type { Cluster } from "../stores/mongo/cluster.ts";
import { MAP_ID } from "../stores/routing/provision.ts";

/** What was not read while others were held up is made up for by so much at once; more would hold them up again. */
const CATCH_UP_MS = 100;

/** How fast a mover may read: so many rows per second, and slower while the readers of a cluster that it works on are held up. */
export class CopyThrottle {
	readonly #clusters: Cluster[];
	readonly #signal: AbortSignal;
	#pace: Pace;
	#hurry = new AbortController();
	readonly #baselines = new Map<Cluster, LatencyBaseline>();
	#flow: Flow = { perSecond: null, atMs: performance.now() };

	constructor(clusters: Cluster[], rowsPerSecond: number, signal: AbortSignal) {
		this.#clusters = clusters;
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
		await this.#yieldTo(count);
		this.#flow = flowed(this.#flow, performance.now(), count);
	}

	async #yieldTo(count: number): Promise<void> {
		const nowMs = performance.now();
		const nextAtMs = Math.max(this.#pace.nextAtMs, nowMs - CATCH_UP_MS);
		const { waitMs, taken } = nextTurn({ ...this.#pace, nextAtMs }, nowMs, count);
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
		return (await Promise.all(this.#clusters.map((cluster) => this.#isSlowAt(cluster)))).includes(true);
	}

	async #isSlowAt(cluster: Cluster): Promise<boolean> {
		const askedMs = performance.now();
		const filter = { _id: MAP_ID };
		const tiny = { find: "documents", filter, projection: { _id: 1 }, limit: 1, singleBatch: true };
		if ((await cluster.read(CLUSTER_DATABASE, tiny).catch(() => null)) === null) return false;
		const { baseline, isSlow } = observe(this.#baselines.get(cluster) ?? NO_BASELINE, performance.now() - askedMs);
		this.#baselines.set(cluster, baseline);
		return isSlow;
	}
}
