import { randomBytes } from "node:crypto";
import { headers, type JetStreamClient } from "nats";
import type { Lane } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import { batchSize, cutBatches, encodeBatch, type Item } from "../domain/batch.ts";
import { showId } from "../domain/ids.ts";
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

interface Batch {
	items: Item[];
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
	/** Items of single requests: the next batch is cut from its front. */
	#waiting: Batch[] = [];
	#ready: Batch[] = [];
	#waitingBytes = 0;
	#inFlight = 0;

	constructor(lane: Lane, jetstream: () => JetStreamClient | null, numbers: BatchNumbers) {
		this.#lane = lane;
		this.#jetstream = jetstream;
		this.#numbers = numbers;
	}

	/** Resolves when the item is on the server's disk. @throws {Fault} OVERLOADED before any write, else ACCEPTANCE_UNKNOWN. */
	publish(item: Item): Promise<void> {
		return this.#enqueue([item], (batch) => this.#waiting.push(batch));
	}

	/** The same for the items of one bulk request, in batches of their own. */
	async publishMany(items: Item[]): Promise<PromiseSettledResult<void>[]> {
		const batches = cutBatches(items);
		const settled = await Promise.allSettled(
			batches.map((batch) => this.#enqueue(batch, (own) => this.#ready.push(own))),
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
			add({ items, resolve, reject });
			this.#pump();
		});
	}

	#pump(): void {
		while (this.#inFlight < IN_FLIGHT) {
			const batches = this.#takeNext();
			if (batches.length === 0) return;
			this.#inFlight++;
			void this.#send(batches).finally(() => {
				this.#inFlight--;
				this.#pump();
			});
		}
	}

	/** Singles first, packed together; then one batch of a bulk request. */
	#takeNext(): Batch[] {
		if (this.#waiting.length > 0) {
			const count = batchSize(this.#waiting.slice(0, 512).flatMap(({ items }) => items));
			return this.#waiting.splice(0, count);
		}
		return this.#ready.splice(0, 1);
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
	const ids = items.map(({ id }) => showId(id));
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
