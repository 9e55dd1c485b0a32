import { setTimeout as sleep } from "node:timers/promises";
import type { Consumer, ConsumerMessages, JsMsg, Subscription } from "nats";
import type { Lane } from "../contracts/alarm.ts";
import { backoffMs } from "../domain/alarms/write-results.ts";
import type { StreamConnection } from "./connection.ts";
import { streamOf } from "./lanes.ts";
import { HEADER } from "./publisher.ts";

/** Pulls batches of a lane and hands them over many at a time: fetch -> handle -> settle. */

/** One batch as the handler sees it. */
export interface Delivery {
	payload: Uint8Array;
	epoch: string;
	number: number;
	streamTimeMs: number;
	sequence: number;
	attempt: number;
}

/**
 * Tells for each delivery, in order, whether it is safe (acked) or has to come again. A throw means: none is safe. `straggles` is to be
 * called when only a slow server is waited for: the next round then need not wait, too.
 */
export type Handler = (deliveries: Delivery[], onSlow: () => void) => Promise<boolean[]>;

interface WorkerOptions {
	lane: Lane;
	/** The durable consumer to pull from. */
	consumer: string;
	/** Batches asked for ahead of time. */
	prefetch: number;
	/** Full rounds at once: while one waits for the databases, the next is decoded. */
	concurrency: () => number;
	/** Makes the lane's stream and consumer if somebody has deleted them. */
	prepare: () => Promise<void>;
	/** Longest wait before a batch that was not safe comes again. */
	mostRetryMs: number;
	/** A third of the consumer's ack wait: how often a long round says that it is alive. */
	workingMs: number;
	onError: (error: unknown) => void;
}

// One round: enough for full-sized inserts on every shard, small enough that its memory and its delay stay modest.
const ROUND_BYTES = 2 * 1024 * 1024;
const ROUND_BATCHES = 64;
/**
 * Only a full round is started beside another: under load what arrives meanwhile then rides together, as on the creating side. But when
 * all that run are slow, what has come meanwhile is not held up behind them.
 */
const SLOW_MS = 250;
const SLOW_CONCURRENCY = 8;
/**
 * After a round of about a hundred alarms the next one waits so long, unless it is full: many small inserts on every shard would take
 * the databases' time from the readers. A single alarm never waits.
 */
const BUSY_BYTES = 32 * 1024;
const BUSY_GAP_MS = 100;
/** An idle fetch is asked anew after that; a server that went away in between is noticed at the latest then. */
const FETCH_MS = 5_000;
const GOODBYE_MS = 2_000;
const FIRST_RETRY_MS = 250;
const MOST_REPULL_MS = 15_000;

export class LaneWorker {
	readonly #connection: StreamConnection;
	readonly #handle: Handler;
	readonly #options: WorkerOptions;
	readonly #buffer: JsMsg[] = [];
	#bufferBytes = 0;
	/** By when they count as slow. */
	readonly #rounds = new Map<Promise<void>, number>();
	#messages: ConsumerMessages | null = null;
	/** While alarms pour in, rounds keep a distance: see BUSY_GAP_MS. */
	#notBeforeMs = 0;
	#later: NodeJS.Timeout | null = null;
	#wake: () => void = () => undefined;
	#isStopping = false;
	#running: Promise<void> | null = null;
	#pulling: Promise<void> | null = null;

	constructor(connection: StreamConnection, handle: Handler, options: WorkerOptions) {
		this.#connection = connection;
		this.#handle = handle;
		this.#options = options;
	}

	start(): void {
		this.#running ??= this.#run();
	}

	/** Takes no new work, hands back what has not been begun, finishes what is in hand. */
	async stop(): Promise<void> {
		this.#isStopping = true;
		if (this.#later !== null) clearTimeout(this.#later);
		this.#wake();
		await this.#endPull();
		for (const message of this.#buffer.splice(0)) message.nak();
		this.#wake();
		await Promise.all(this.#rounds.keys());
	}

	/** A server that does not answer must not keep this process from stopping: its batches come again after the ack wait. */
	async #endPull(): Promise<void> {
		await Promise.race([drain(this.#messages), sleep(GOODBYE_MS, undefined, { ref: false })]);
		this.#messages?.stop();
		await Promise.race([this.#pulling?.catch(this.#options.onError), sleep(GOODBYE_MS, undefined, { ref: false })]);
	}

	async #run(): Promise<void> {
		for (let attempt = 1; !this.#isStopping; attempt++) {
			try {
				this.#pulling = this.#pull();
				await this.#pulling;
				attempt = 0;
			} catch (error) {
				this.#options.onError(error);
			}
			if (!this.#isStopping)
				await sleep(backoffMs(attempt, FIRST_RETRY_MS, MOST_REPULL_MS, Math.random()), undefined, { ref: false });
		}
	}

	async #pull(): Promise<void> {
		const connection = await this.#connection.sound();
		if (this.#isStopping) return;
		await this.#options.prepare();
		const consumer = await connection.jetstream().consumers.get(streamOf(this.#options.lane), this.#options.consumer);
		while (!this.#isStopping) {
			await this.#room();
			await this.#fetch(consumer);
		}
	}

	/** Asks for so many batches and no more: `consume` would go on receiving whatever waits, without a limit to memory. */
	async #fetch(consumer: Consumer): Promise<void> {
		this.#messages = await consumer.fetch({ max_messages: this.#options.prefetch, expires: FETCH_MS });
		// Stopped while it was asked for: what comes all the same is taken, and handed back.
		if (this.#isStopping) void drain(this.#messages);
		for await (const message of this.#messages) {
			this.#buffer.push(message);
			this.#bufferBytes += message.data.length;
			// Let what has arrived together join the same round.
			setImmediate(() => this.#startRound());
		}
	}

	/** Waits while a full round lies ready and every hand is busy. */
	async #room(): Promise<void> {
		while (!this.#isStopping && this.#rounds.size >= this.#options.concurrency() && this.#isRoundFull()) {
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
		}
	}

	#isRoundFull(): boolean {
		return this.#buffer.length >= ROUND_BATCHES || this.#bufferBytes >= ROUND_BYTES;
	}

	/** When the next round may begin: now (0 or less), in so many ms, or not before another one has ended (infinite). */
	#startInMs(): number {
		if (this.#isStopping || this.#buffer.length === 0) return Number.POSITIVE_INFINITY;
		if (this.#isRoundFull()) return this.#rounds.size < this.#options.concurrency() ? 0 : Number.POSITIVE_INFINITY;
		if (this.#rounds.size >= SLOW_CONCURRENCY) return Number.POSITIVE_INFINITY;
		return Math.max(this.#notBeforeMs, ...this.#rounds.values()) - performance.now();
	}

	#startRound(): void {
		const inMs = this.#startInMs();
		if (inMs > 0) {
			this.#startLater(inMs);
			return;
		}
		const messages = this.#takeRound();
		const isBusy = sizeOf(messages) >= BUSY_BYTES;
		this.#notBeforeMs = isBusy ? performance.now() + BUSY_GAP_MS : 0;
		const round = this.#doRound(messages, () => this.#onSlow(round)).finally(() => {
			this.#rounds.delete(round);
			this.#wake();
			this.#startRound();
		});
		this.#rounds.set(round, performance.now() + SLOW_MS);
	}

	#onSlow(round: Promise<void>): void {
		if (this.#rounds.has(round)) this.#rounds.set(round, performance.now());
		if (this.#later !== null) clearTimeout(this.#later);
		this.#later = null;
		this.#startRound();
	}

	/** What lies ready while rounds keep their distance is begun when that is over. */
	#startLater(inMs: number): void {
		if (inMs === Number.POSITIVE_INFINITY || this.#later !== null) return;
		this.#later = setTimeout(() => {
			this.#later = null;
			this.#startRound();
		}, inMs);
	}

	#takeRound(): JsMsg[] {
		let bytes = 0;
		let count = 0;
		for (const message of this.#buffer) {
			bytes += message.data.length;
			if (count > 0 && (bytes > ROUND_BYTES || count === ROUND_BATCHES)) break;
			count++;
		}
		const taken = this.#buffer.splice(0, count);
		this.#bufferBytes -= sizeOf(taken);
		return taken;
	}

	async #doRound(messages: JsMsg[], onSlow: () => void): Promise<void> {
		const stillWorking = setInterval(
			() => messages.forEach((message) => void message.working()),
			this.#options.workingMs,
		).unref();
		try {
			const safe = await this.#handle(messages.map(toDelivery), onSlow);
			for (const [index, message] of messages.entries()) this.#settle(message, safe[index] === true);
		} catch (error) {
			this.#options.onError(error);
			for (const message of messages) this.#settle(message, false);
		} finally {
			clearInterval(stillWorking);
		}
	}

	#settle(message: JsMsg, isSafe: boolean): void {
		if (isSafe) message.ack();
		else message.nak(backoffMs(message.info.deliveryCount, FIRST_RETRY_MS, this.#options.mostRetryMs, Math.random()));
	}
}

/**
 * Ends a fetch without losing what the server has sent already: that would wait for the whole ack wait. nats.js keeps the subscription
 * to itself, but ends the loop when it has drained. One that has ended by itself has nothing left.
 */
async function drain(messages: ConsumerMessages | null): Promise<void> {
	await (messages as unknown as { sub: Subscription } | null)?.sub.drain().catch(() => undefined);
}

function sizeOf(messages: JsMsg[]): number {
	return messages.reduce((sum, { data }) => sum + data.length, 0);
}

function toDelivery(message: JsMsg): Delivery {
	return {
		payload: message.data,
		epoch: message.headers?.get(HEADER.epoch) ?? "",
		number: Number(message.headers?.get(HEADER.number) ?? 0),
		streamTimeMs: Math.floor(message.info.timestampNanos / 1e6),
		sequence: message.seq,
		attempt: message.info.deliveryCount,
	};
}
