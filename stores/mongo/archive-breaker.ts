import type { Document } from "mongodb";
import { Fault } from "../../contracts/errors.ts";
import { attempt, type Breaker, CLOSED, isClosed, opened } from "../../domain/time/breaker.ts";
import { inTime, TooLate } from "../../lib/timeout.ts";
import { type Cluster, isUnavailable, WrongServer } from "./cluster.ts";

/** Less than a round of a worker waits for its own shard: a silent archive must not make that look silent, too. */
const ANSWER_MS = 800;
const PACE = { firstMs: 500, mostMs: 2_000 };

/**
 * Reads of archive clusters. One that is silent costs whoever asks at that moment most of a second, and then nobody: while its breaker is
 * open everybody is refused at once, and a question of its own finds out in the background whether it is back.
 */
export class ArchiveBreaker {
	readonly #breakers = new Map<string, Breaker>();

	/** @throws {Fault} ARCHIVE_UNAVAILABLE when the cluster does not answer in time, or answers wrongly; other errors as the driver has them. */
	async read(cluster: Cluster, database: string, command: Document): Promise<Document> {
		if (!isClosed(this.#of(cluster))) {
			this.#probeIfDue(cluster);
			throw archiveUnavailable(cluster.name);
		}
		return this.#ask(cluster, () => cluster.read(database, command));
	}

	async #ask<T>(cluster: Cluster, question: () => Promise<T>): Promise<T> {
		try {
			const answer = await inTime(question(), ANSWER_MS);
			this.#breakers.delete(cluster.name);
			return answer;
		} catch (error) {
			if (!isSilence(error)) throw error;
			// Many that asked at once have met one silence.
			if (isClosed(this.#of(cluster))) this.#open(cluster);
			throw archiveUnavailable(cluster.name, error);
		}
	}

	#probeIfDue(cluster: Cluster): void {
		const { may, next } = attempt(this.#of(cluster), performance.now(), PACE);
		this.#breakers.set(cluster.name, next);
		if (may) void this.#ask(cluster, () => cluster.askClock()).catch(() => this.#open(cluster));
	}

	#open(cluster: Cluster): void {
		this.#breakers.set(cluster.name, opened(this.#of(cluster), performance.now(), PACE));
	}

	#of({ name }: Cluster): Breaker {
		return this.#breakers.get(name) ?? CLOSED;
	}
}

function isSilence(error: unknown): boolean {
	return error instanceof TooLate || error instanceof WrongServer || isUnavailable(error);
}

/** True when an archive cluster did not answer: nothing is known of what lies there, and the shard's own cluster may be well. */
export function isArchiveUnavailable(error: unknown): boolean {
	return error instanceof Fault && error.type === "ARCHIVE_UNAVAILABLE";
}

/** That an archive cluster does not answer, as every caller understands it. */
export function archiveUnavailable(cluster: string, cause?: unknown): Fault {
	const fault = new Fault(
		"ARCHIVE_UNAVAILABLE",
		"The archive of older alarms does not answer; newer ones can be read.",
		{
			retryAfterS: 2,
			cluster,
		},
	);
	fault.cause = cause;
	return fault;
}
