import { META_DATABASE } from "../domain/holdings.ts";
import type { Clusters } from "./clusters.ts";
import { MAJORITY } from "./documents.ts";

/** The moment before which no accepted alarm is still on its way; published by the workers, never moved back. */
const ID = "low-watermark";

export async function publishLowWatermark(clusters: Clusters, atMs: number): Promise<void> {
	await clusters.meta.command(META_DATABASE, {
		update: "documents",
		updates: [{ q: { _id: ID }, u: { $max: { atMs } }, upsert: true }],
		writeConcern: MAJORITY,
	});
}

const POLL_MS = 1_000;

/** The watermark in memory. An old one is only more cautious: it calls more ids pending. */
export class HeldLowWatermark {
	readonly #clusters: Clusters;
	#atMs: number | null = null;
	#timer: NodeJS.Timeout | null = null;

	constructor(clusters: Clusters) {
		this.#clusters = clusters;
	}

	/** Null before the first was read. */
	get atMs(): number | null {
		return this.#atMs;
	}

	start(): void {
		void this.#poll();
		this.#timer ??= setInterval(() => void this.#poll(), POLL_MS).unref();
	}

	stop(): void {
		if (this.#timer !== null) clearInterval(this.#timer);
		this.#timer = null;
	}

	async #poll(): Promise<void> {
		// The meta database may be away: the one in hand stays true.
		this.#atMs = (await readLowWatermark(this.#clusters).catch(() => null)) ?? this.#atMs;
	}
}

/** Null before the first was published. */
export async function readLowWatermark(clusters: Clusters): Promise<number | null> {
	const command = { find: "documents", filter: { _id: ID }, limit: 1, singleBatch: true };
	const reply = await clusters.meta.read(META_DATABASE, command);
	const [row] = reply.cursor.firstBatch as { atMs: number }[];
	return row?.atMs ?? null;
}
