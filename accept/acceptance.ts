import type { Lane } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import { encodeBatch, type Item, type PackedBatch } from "../domain/alarms/batch.ts";
import type { BatchNumbers } from "../domain/alarms/batch-numbers.ts";
import { attempt, type Breaker, CLOSED, isClosed, opened } from "../domain/time/breaker.ts";
import type { Via } from "./group-commit.ts";

/**
 * Puts a batch on a durable disk: on the queue, or, when the queue is away, slow or silent, into the outbox. The same ids in both
 * places do no harm: whichever copy comes second finds its slots taken.
 */

/** The deeds, each of which resolves only when the batch is on a disk. */
export interface Disks {
	/** Null while the queue is known to be away. */
	publish: ((batch: PackedBatch, timeoutMs: number) => Promise<void>) | null;
	/** @throws {Fault} OVERLOADED when there is no room, ACCEPTANCE_UNKNOWN when no outbox answered. */
	save: (batch: PackedBatch) => Promise<void>;
	/** The queue has refused, and the batch is nowhere. */
	isRejected: (error: unknown) => boolean;
}

const CREATION_MS = 3_000;
const PUBLISH_MS = 1_000;
/** Two tries of the outbox, and a little for the way back. */
const OUTBOX_MS = 1_600;
const PACE = { firstMs: 500, mostMs: 2_000 };

export class Acceptance {
	readonly #lane: Lane;
	readonly #numbers: BatchNumbers;
	readonly #disks: () => Disks;
	/** Of this lane's stream alone: one that is away does not send the other lane's alarms to the outbox. */
	#breaker: Breaker = CLOSED;

	constructor(lane: Lane, numbers: BatchNumbers, disks: () => Disks) {
		this.#lane = lane;
		this.#numbers = numbers;
		this.#disks = disks;
	}

	/** @throws {Fault} OVERLOADED when nothing was written, ACCEPTANCE_UNKNOWN when that is not known. */
	async accept(items: Item[], waitingSinceMs: number): Promise<Via> {
		const number = this.#numbers.next();
		const sinceMs = Math.min(...items.map(({ acceptedAtMs }) => acceptedAtMs));
		const batch = { lane: this.#lane, epoch: this.#numbers.epoch, number, payload: encodeBatch(items), sinceMs };
		try {
			const via = await this.#put(batch, waitingSinceMs);
			this.#numbers.settle(number, true);
			return via;
		} catch (error) {
			if (isNowhere(error)) this.#numbers.giveBack(number);
			else this.#numbers.settle(number, false);
			throw error;
		}
	}

	/** Why nobody waits for the queue now, or null. */
	get trouble(): string | null {
		return isClosed(this.#breaker) ? null : "it does not take messages in time";
	}

	/** When a trial is due: publishes something that no caller waits for, and closes the breaker if that works. */
	async probe(probe: () => Promise<void>): Promise<void> {
		if (isClosed(this.#breaker)) return;
		const { may, next } = attempt(this.#breaker, performance.now(), PACE);
		this.#breaker = next;
		if (!may) return;
		await probe().then(
			() => this.#recordSuccess(),
			() => this.#recordFailure(),
		);
	}

	async #put(batch: PackedBatch, waitingSinceMs: number): Promise<Via> {
		const disks = this.#disks();
		const isTried = disks.publish !== null && isClosed(this.#breaker);
		if (isTried && (await this.#publish(disks, batch, waitingSinceMs))) return "queue";
		await this.#save(disks, batch, { isTried, waitingSinceMs });
		return "outbox";
	}

	/** False when it is not known whether the queue has it. @throws {Fault} OVERLOADED when it has not. */
	async #publish({ publish, isRejected }: Disks, batch: PackedBatch, waitingSinceMs: number): Promise<boolean> {
		const leftMs = CREATION_MS - OUTBOX_MS - (performance.now() - waitingSinceMs);
		try {
			await publish?.(batch, Math.max(Math.min(PUBLISH_MS, leftMs), 100));
			this.#recordSuccess();
			return true;
		} catch (error) {
			if (isRejected(error))
				throw new Fault("OVERLOADED", "The queue is full; nothing was accepted.", { retryAfterS: 5 });
			this.#recordFailure();
			return false;
		}
	}

	async #save(disks: Disks, batch: PackedBatch, { isTried, waitingSinceMs }: Tried): Promise<void> {
		// A process that stood still: its callers are gone, and the low-watermark may have passed these alarms.
		const isLate = performance.now() - waitingSinceMs > CREATION_MS;
		try {
			if (isLate) throw unknown();
			await disks.save(batch);
		} catch (error) {
			// What the queue was given may lie there, whatever the outbox says.
			throw isTried ? unknown(error) : error;
		}
	}

	#recordSuccess(): void {
		this.#breaker = CLOSED;
	}

	#recordFailure(): void {
		this.#breaker = opened(this.#breaker, performance.now(), PACE);
	}
}

function isNowhere(error: unknown): boolean {
	return error instanceof Fault && error.type === "OVERLOADED";
}

interface Tried {
	isTried: boolean;
	waitingSinceMs: number;
}

function unknown(cause?: unknown): Fault {
	const fault = new Fault(
		"ACCEPTANCE_UNKNOWN",
		"Neither queue nor outbox answered in time; ask for the status of these ids.",
		{
			retryAfterS: 2,
		},
	);
	fault.cause = cause;
	return fault;
}
