import { randomBytes } from "node:crypto";
import { headers, type JetStreamClient } from "nats";
import type { Lane } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import { BATCH_ITEMS, batchSize, cutBatches, encodeBatch, type Item } from "../domain/batch.ts";
import { batchSubject, streamOf } from "./lanes.ts";

/**
 * Group commit: requests that arrive while a publish is in flight ride in the next message together, and each is answered when its
 * own batch has its PubAck. No timer: an idle service sends a batch of one at once.
 */

const IN_FLIGHT = 2;
const PUBLISH_MS = 1_000;
/** More than that in hand is refused before any write: memory stays flat, and callers are told early. */
const WAITING_BYTES = 32 * 1024 * 1024;

export const HEADER = { epoch: "Alarm-Epoch", number: "Alarm-Number" } as const;

/** Waited so long without being sent: refused, so that a caller has its answer within 3 s also while publishes time out. */
const LATE_MS = 1_000;

interface Batch {
	items: Item[];
	sinceMs: number;
	resolve: () => void;
	reject: (error: unknown) => void;
}

/** Numbers the batches of this process without a gap, over all lanes; `epoch` is new with each process. */
export class BatchNumbers {
	readonly epoch = randomBytes(9).toString("base64url");
	#last = 0;

	next(): number {
		this.#last += 1;
		return this.#last;
	}
}

export class LanePublisher {
	readonly #lane: Lane;
	readonly #jetstream: () => JetStreamClient | null;
	readonly #numbers: BatchNumbers;
	/** Items of single requests: the next message is packed from its front. */
	#singles: Batch[] = [];
	/** Batches of bulk requests: each is a message of its own. */
	#batches: Batch[] = [];
	#singlesNext = true;
	#waitingBytes = 0;
	#inFlight = 0;
	#isPumpDue = false;

	constructor(lane: Lane, jetstream: () => JetStreamClient | null, numbers: BatchNumbers) {
		this.#lane = lane;
		this.#jetstream = jetstream;
		this.#numbers = numbers;
	}

	/** Resolves when the item is on the server's disk. @throws {Fault} OVERLOADED before any write, else ACCEPTANCE_UNKNOWN. */
	publish(item: Item): Promise<void> {
		return this.#enqueue([item], (batch) => this.#singles.push(batch));
	}

	/** The same for the items of one bulk request, in batches of their own. */
	async publishMany(items: Item[]): Promise<PromiseSettledResult<void>[]> {
		const batches = cutBatches(items);
		const settled = await Promise.allSettled(
			batches.map((batch) => this.#enqueue(batch, (own) => this.#batches.push(own))),
		);
		return settled.flatMap((one, index) => (batches[index] ?? []).map(() => one));
	}

	#enqueue(items: Item[], add: (batch: Batch) => void): Promise<void> {
		const bytes = sizeOf(items);
		if (this.#waitingBytes + bytes > WAITING_BYTES) {
			return Promise.reject(
				new Fault("OVERLOADED", "Too much waits for the queue; nothing was accepted.", { retryAfterS: 1 }),
			);
		}
		this.#waitingBytes += bytes;
		return new Promise((resolve, reject) => {
			add({ items, sinceMs: performance.now(), resolve, reject });
			this.#pumpSoon();
		});
	}

	/** After the requests that arrived in the same turn of the event loop: they ride together. */
	#pumpSoon(): void {
		if (this.#isPumpDue) return;
		this.#isPumpDue = true;
		setImmediate(() => {
			this.#isPumpDue = false;
			this.#pump();
		});
	}

	#pump(): void {
		while (this.#inFlight < IN_FLIGHT) {
			this.#refuseLate();
			const batches = this.#takeNext();
			if (batches.length === 0) return;
			this.#inFlight++;
			void this.#send(batches).finally(() => {
				this.#inFlight--;
				this.#pump();
			});
		}
	}

	/** In turn, so that neither kind waits for the other to pause. */
	#takeNext(): Batch[] {
		const takeSingles = this.#batches.length === 0 || (this.#singlesNext && this.#singles.length > 0);
		this.#singlesNext = !takeSingles;
		if (!takeSingles) return this.#batches.splice(0, 1);
		const front = this.#singles.slice(0, BATCH_ITEMS).flatMap(({ items }) => items);
		return this.#singles.splice(0, batchSize(front));
	}

	/** What waits is in the order of its coming: the late ones are in front. */
	#refuseLate(): void {
		const lateMs = performance.now() - LATE_MS;
		for (const queue of [this.#singles, this.#batches]) {
			const inTime = queue.findIndex(({ sinceMs }) => sinceMs > lateMs);
			const late = queue.splice(0, inTime === -1 ? queue.length : inTime);
			for (const { items, reject } of late) {
				this.#waitingBytes -= sizeOf(items);
				reject(new Fault("OVERLOADED", "The queue is too slow; nothing was accepted.", { retryAfterS: 1 }));
			}
		}
	}

	async #send(batches: Batch[]): Promise<void> {
		const items = batches.flatMap((batch) => batch.items);
		try {
			await this.#put(items);
			for (const { resolve } of batches) resolve();
		} catch (error) {
			for (const batch of batches) batch.reject(publishFault(error, batch.items));
		}
		this.#waitingBytes -= sizeOf(items);
	}

	async #put(items: Item[]): Promise<void> {
		const jetstream = this.#jetstream();
		if (jetstream === null) throw new Error("the queue is not connected");
		const number = this.#numbers.next();
		const { epoch } = this.#numbers;
		const head = headers();
		head.set(HEADER.epoch, epoch);
		head.set(HEADER.number, String(number));
		await jetstream.publish(batchSubject(this.#lane), encodeBatch(items), {
			msgID: `${epoch}-${number}`,
			headers: head,
			expect: { streamName: streamOf(this.#lane) },
			timeout: PUBLISH_MS,
		});
	}
}

function sizeOf(items: Item[]): number {
	return items.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The stream refused before storing (full: 10077, wrong stream: 10060). Everything else may have been stored all the same. */
const REFUSED = new Set([10077, 10060]);

function publishFault(error: unknown, items: Item[]): Fault {
	const code = (error as { api_error?: { err_code?: number } }).api_error?.err_code;
	const ids = items.map(({ shown }) => shown);
	const fault =
		code !== undefined && REFUSED.has(code)
			? new Fault("OVERLOADED", "The queue is full; nothing was accepted.", { retryAfterS: 5 })
			: new Fault("ACCEPTANCE_UNKNOWN", "The queue did not answer in time; ask for the status of these ids.", {
					ids,
					retryAfterS: 2,
				});
	fault.cause = error;
	return fault;
}
