import type { Document } from "mongodb";
import { MARGIN_MS } from "../../domain/alarms/low-watermark.ts";
import { META_DATABASE } from "../../domain/routing/collection-catalog.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { MAJORITY } from "../mongo/write-concern.ts";

/** The moment before which no accepted alarm is still on its way; published by the workers, never moved back while it can be true. */
const ID = "low-watermark";

/** By the database's own clock: a worker whose clock is fast must not call young alarms unknown for as long as it is ahead. */
export async function publishLowWatermark(clusters: Clusters, atMs: number): Promise<void> {
	await clusters.meta.command(META_DATABASE, {
		update: "documents",
		updates: [{ q: { _id: ID }, u: [{ $set: { atMs: later(atMs) } }], upsert: true }],
		writeConcern: MAJORITY,
	});
}

/**
 * The pipeline expression of the new low-watermark: the later of the stored value and `atMs`. `atMs` is bounded by the database's clock
 * less the margin. A stored value ahead of that clock came from a wrong clock and is ignored.
 */
function later(atMs: number): Document {
	const mostMs = { $toDouble: { $subtract: ["$$NOW", MARGIN_MS] } };
	const stored = { $cond: [{ $gt: ["$atMs", { $toDouble: "$$NOW" }] }, null, "$atMs"] };
	return { $max: [stored, { $min: [atMs, mostMs] }] };
}

const POLL_MS = 1_000;

/** The watermark in memory. An old one is only more cautious: it calls more ids pending. */
export class CachedLowWatermark {
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

/** Null before the first was published, and for one that lies ahead of this clock: that one is a wrong clock's, its or ours. */
export async function readLowWatermark(clusters: Clusters): Promise<number | null> {
	const command = { find: "documents", filter: { _id: ID }, limit: 1, singleBatch: true };
	const reply = await clusters.meta.read(META_DATABASE, command);
	const [row] = reply.cursor.firstBatch as { atMs: number }[];
	return row !== undefined && row.atMs <= Date.now() ? row.atMs : null;
}
