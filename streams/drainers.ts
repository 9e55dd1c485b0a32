import type { Lane } from "../contracts/alarm.ts";
import type { StreamConnection } from "./connection.ts";
import { drainerOf, ensureDrainer, type LaneSize } from "./lanes.ts";
import { type Handler, LaneWorker } from "./worker.ts";

/** The workers that empty what is parked on a lane: one per shard that has anything parked, and none otherwise. */

interface DrainersOptions {
	lane: Lane;
	size: LaneSize;
	onError: (error: unknown) => void;
}

const PREFETCH = 16;
/** Waits between attempts of one message: short, so that a shard that is back is drained soon. */
const MOST_RETRY_MS = 5_000;

export class Drainers {
	readonly #connection: StreamConnection;
	readonly #handle: Handler;
	readonly #options: DrainersOptions;
	readonly #running = new Map<number, LaneWorker>();
	#isStopped = false;

	constructor(connection: StreamConnection, handle: Handler, options: DrainersOptions) {
		this.#connection = connection;
		this.#handle = handle;
		this.#options = options;
	}

	/** Starts and ends drainers so that they fit what is parked: messages by shard. */
	async fit(parked: ReadonlyMap<number, number>): Promise<void> {
		if (this.#isStopped) return;
		for (const shard of parked.keys()) this.#start(shard);
		const idle = [...this.#running.keys()].filter((shard) => !parked.has(shard));
		await Promise.all(idle.map((shard) => this.#end(shard)));
	}

	async stop(): Promise<void> {
		this.#isStopped = true;
		await Promise.all([...this.#running.keys()].map((shard) => this.#end(shard)));
	}

	#start(shard: number): void {
		if (this.#running.has(shard)) return;
		const { lane, size, onError } = this.#options;
		const worker = new LaneWorker(this.#connection, this.#handle, {
			lane,
			consumer: drainerOf(shard),
			prefetch: PREFETCH,
			concurrency: () => 1,
			mostRetryMs: MOST_RETRY_MS,
			prepare: async () => ensureDrainer(await this.#connection.manager(), lane, shard, size),
			workingMs: size.ackWaitMs / 3,
			onError,
		});
		this.#running.set(shard, worker);
		worker.start();
	}

	async #end(shard: number): Promise<void> {
		const worker = this.#running.get(shard);
		this.#running.delete(shard);
		await worker?.stop();
	}
}
