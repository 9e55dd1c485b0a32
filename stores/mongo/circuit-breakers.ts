import type { Lane } from "../../contracts/alarm.ts";
import { attempt, type Breaker, CLOSED, opened } from "../../domain/time/breaker.ts";

/** How long one waits for a cluster, and whether at all: one that is silent must not hold up what belongs to the others. */
export interface CircuitBreaker {
	/** Whether the cluster is worth a try now. */
	mayTry(cluster: string): boolean;
	/** Whether an answer is to be expected. Takes nobody's trial: for putting clusters in order. */
	isPromising(cluster: string): boolean;
	/** For a group of so many rows. */
	limitMs(rows: number): number;
	/** A group of so many rows was answered after so long. What took longer than a round can wait says nothing good. */
	recordSuccess(cluster: string, afterMs: number, rows: number): void;
	recordFailure(cluster: string): void;
}

/** About a second, and a little more for a large command. */
const ROUND_MS = 1_000;
const ROW_MS = 1;
/** The bulk lane has time: a database that is only slow would be slower yet if all of a backlog were parked and came again. */
const BULK_MS = 5_000;
const BULK_SILENCES = 3;
/** Longer than the driver itself waits: whoever drains has time. */
const DRAIN_MS = 8_000;
const PACE = { firstMs: 500, mostMs: 2_000 };
/** Trials are made by those who drain what was parked. If there is none of them, a round makes one after that. */
const UNTRIED_MS = 10_000;

function roundMs(rows: number): number {
	return ROUND_MS + rows * ROW_MS;
}

/** One breaker per cluster, for all lanes of a process. */
export class CircuitBreakers {
	readonly #breakers = new Map<string, Breaker>();

	/** Of rounds of fresh alarms. Realtime never waits for a cluster that was silent; bulk not for one that stays silent. */
	readonly ofRounds: Record<Lane, CircuitBreaker> = {
		realtime: this.#breaker(roundMs, 1),
		bulk: this.#breaker((rows) => BULK_MS + rows * ROW_MS, BULK_SILENCES),
	};

	/** Of a drainer: it finds out whether the cluster is back. */
	readonly ofDrainers: CircuitBreaker = {
		...this.#breaker(() => DRAIN_MS, 1),
		mayTry: (cluster) => this.#probe(cluster, performance.now()),
	};

	#breaker(limitMs: CircuitBreaker["limitMs"], silences: number): CircuitBreaker {
		const isPromising = (cluster: string) => this.#of(cluster).failures < silences;
		return {
			mayTry: (cluster) => isPromising(cluster) || this.#probe(cluster, performance.now() - UNTRIED_MS),
			isPromising,
			limitMs,
			recordSuccess: (cluster, afterMs, rows) => {
				if (afterMs <= roundMs(rows)) this.#breakers.delete(cluster);
			},
			recordFailure: (cluster) => this.#recordFailure(cluster),
		};
	}

	#of(cluster: string): Breaker {
		return this.#breakers.get(cluster) ?? CLOSED;
	}

	#probe(cluster: string, nowMs: number): boolean {
		const { may, next } = attempt(this.#of(cluster), nowMs, PACE);
		this.#breakers.set(cluster, next);
		return may;
	}

	#recordFailure(cluster: string): void {
		this.#breakers.set(cluster, opened(this.#of(cluster), performance.now(), PACE));
	}
}
