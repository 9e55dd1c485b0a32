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

/** Null when no worker has published one yet. */
export async function readLowWatermark(clusters: Clusters): Promise<number | null> {
	const command = { find: "documents", filter: { _id: ID }, limit: 1, singleBatch: true };
	const reply = await clusters.meta.read(META_DATABASE, command);
	const [row] = reply.cursor.firstBatch as { atMs: number }[];
	return row?.atMs ?? null;
}
