import type { Accepted } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import { BATCH_ITEMS, batchSize, cutBatches, type Item } from "../domain/alarms/batch.ts";

/**
 * Group commit: requests that arrive while a batch is being written ride in the next one together, and each is answered when its
 * own batch is on a disk. No timer: an idle service writes a batch of one at once.
 */

const IN_FLIGHT = 2;
/** More than that in hand is refused before any write: memory stays flat, and callers are told early. */
const WAITING_BYTES = 32 * 1024 * 1024;
/** Waited so long without being begun: refused. Publishing and two outboxes come after it, and the answer is due within 3 s. */
const LATE_MS = 1_200;

export type Via = Accepted["via"];

/**
 * Puts a batch on a disk and tells where; `sinceMs` (of `performance.now()`) is when its oldest item began to wait.
 * @throws {Fault} OVERLOADED when nothing was written, ACCEPTANCE_UNKNOWN when that is not known.
 */
type Commit = (items: Item[], sinceMs: number) => Promise<Via>;

interface Waiting {
	items: Item[];
	sinceMs: number;
	resolve: (via: Via) => void;
	reject: (error: unknown) => void;
}

export class GroupCommit {
	readonly #commit: Commit;
	/** Items of single requests: the next batch is packed from its front. */
	#singles: Waiting[] = [];
	/** Batches of bulk requests: each is written by itself. */
	#batches: Waiting[] = [];
	#singlesNext = true;
	#waitingBytes = 0;
	#inFlight = 0;
	#isPumpDue = false;

	constructor(commit: Commit) {
		this.#commit = commit;
	}

	/** Resolves when the item is on a disk. @throws {Fault} OVERLOADED before any write, else ACCEPTANCE_UNKNOWN. */
	add(item: Item): Promise<Via> {
		return this.#enqueue([item], (waiting) => this.#singles.push(waiting));
	}

	/** The same for the items of one bulk request, in batches of their own. */
	async addMany(items: Item[]): Promise<PromiseSettledResult<Via>[]> {
		const batches = cutBatches(items);
		const settled = await Promise.allSettled(
			batches.map((batch) => this.#enqueue(batch, (waiting) => this.#batches.push(waiting))),
		);
		return settled.flatMap((one, index) => (batches[index] ?? []).map(() => one));
	}

	#enqueue(items: Item[], add: (waiting: Waiting) => void): Promise<Via> {
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
			this.#rejectLate();
			const batch = this.#takeNext();
			if (batch.length === 0) return;
			this.#inFlight++;
			void this.#write(batch).finally(() => {
				this.#inFlight--;
				this.#pump();
			});
		}
	}

	/** In turn, so that neither kind waits for the other to pause. */
	#takeNext(): Waiting[] {
		const takeSingles = this.#batches.length === 0 || (this.#singlesNext && this.#singles.length > 0);
		this.#singlesNext = !takeSingles;
		if (!takeSingles) return this.#batches.splice(0, 1);
		const front = this.#singles.slice(0, BATCH_ITEMS).flatMap(({ items }) => items);
		return this.#singles.splice(0, batchSize(front));
	}

	/** What waits is in the order of its coming: the late ones are in front. */
	#rejectLate(): void {
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

	async #write(batch: Waiting[]): Promise<void> {
		const items = batch.flatMap((waiting) => waiting.items);
		const sinceMs = batch[0]?.sinceMs ?? performance.now();
		try {
			const via = await this.#commit(items, sinceMs);
			for (const { resolve } of batch) resolve(via);
		} catch (error) {
			for (const waiting of batch) waiting.reject(faultOf(error, waiting.items));
		}
		this.#waitingBytes -= sizeOf(items);
	}
}

function sizeOf(items: Item[]): number {
	return items.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** What one of many requests is told of its batch: only its own ids. */
function faultOf(error: unknown, items: Item[]): Fault {
	const known = error instanceof Fault ? error : null;
	const type = known?.type ?? "ACCEPTANCE_UNKNOWN";
	const ids = type === "ACCEPTANCE_UNKNOWN" ? { ids: items.map(({ shown }) => shown) } : {};
	const fault = new Fault(type, known?.message ?? "Something went wrong while accepting.", { ...known?.data, ...ids });
	fault.cause = error;
	return fault;
}
