import { attempt, type Breaker, CLOSED, isClosed, opened } from "../domain/breaker.ts";

/** How long one waits for a cluster, and whether at all: one that is silent must not hold up what belongs to the others. */
export interface Patience {
	/** Whether the cluster is worth a try now. */
	mayTry(cluster: string): boolean;
	/** For a group of so many rows. */
	limitMs(rows: number): number;
	heard(cluster: string): void;
	silent(cluster: string): void;
}

/** About a second, and a little more for a large command. */
const ROUND_MS = 1_000;
const ROW_MS = 1;
/** Longer than the driver itself waits: whoever drains has time. */
const DRAIN_MS = 8_000;
const PACE = { firstMs: 500, mostMs: 2_000 };
/** Trials are made by those who drain what was parked. If there is none of them, a round makes one after that. */
const UNTRIED_MS = 10_000;

/** One breaker per cluster, for all lanes of a process. */
export class ClusterBreakers {
	readonly #breakers = new Map<string, Breaker>();

	/** Of a round of fresh alarms: never waits for a cluster that was silent. */
	readonly ofRounds: Patience = {
		mayTry: (cluster) => this.#isClosed(cluster) || this.#trial(cluster, performance.now() - UNTRIED_MS),
		limitMs: (rows) => ROUND_MS + rows * ROW_MS,
		heard: (cluster) => this.#breakers.delete(cluster),
		silent: (cluster) => this.#silent(cluster),
	};

	/** Of a drainer: it finds out whether the cluster is back. */
	readonly ofDrainers: Patience = {
		...this.ofRounds,
		mayTry: (cluster) => this.#trial(cluster, performance.now()),
		limitMs: () => DRAIN_MS,
	};

	#of(cluster: string): Breaker {
		return this.#breakers.get(cluster) ?? CLOSED;
	}

	#isClosed(cluster: string): boolean {
		return isClosed(this.#of(cluster));
	}

	#trial(cluster: string, nowMs: number): boolean {
		const { may, next } = attempt(this.#of(cluster), nowMs, PACE);
		this.#breakers.set(cluster, next);
		return may;
	}

	#silent(cluster: string): void {
		this.#breakers.set(cluster, opened(this.#of(cluster), performance.now(), PACE));
	}
}
