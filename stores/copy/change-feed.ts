import type { ChangeStream, Document, Timestamp } from "mongodb";
import { isOutage, unavailable } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { toBuffer } from "../mongo/commands.ts";

/**
 * The ids of collections whose rows have changed since a moment. Of the whole database of the shard and not of the one collection, so that
 * the marker comes in the same order, and the renaming of the source is seen and does not end it.
 */

/** The server has forgotten the beginning: what was copied since can only be copied anew. */
export class FeedLost extends Error {
	override readonly name = "FeedLost";
}

const HISTORY_LOST = new Set([286, 280, 222]);
const AWAIT_MS = 250;
const ROW_CHANGES = new Set(["insert", "update", "replace", "delete"]);

interface Place {
	cluster: string;
	database: string;
	/** Whose rows are looked at; null: all there are, also those that are made later. */
	collections: string[] | null;
	/** Where markers are written. */
	markers: string;
}

export class ChangeFeed {
	readonly #stream: ChangeStream<Document, Document>;
	readonly #place: Place;
	/** By collection, and then by id. */
	readonly #touched = new Map<string, Map<string, Buffer>>();
	/** What has come by: markers, and collections that were renamed. */
	readonly #seen = new Set<string>();
	#waiting: { mark: string; done: PromiseWithResolvers<void> } | null = null;
	#failure: unknown = null;
	readonly #ended: Promise<void>;

	/** Everything from `since` on, inclusive. */
	constructor(clusters: Clusters, place: Place, since: Timestamp) {
		this.#place = place;
		const { collections, markers } = place;
		const meant = collections === null ? {} : { "ns.coll": { $in: [...collections, markers] } };
		const pipeline = [
			{ $match: meant },
			{ $project: { operationType: 1, ns: 1, documentKey: 1, "fullDocument.marker": 1 } },
		];
		const options = { startAtOperationTime: since, maxAwaitTimeMS: AWAIT_MS };
		this.#stream = clusters.at(place.cluster).watch(place.database, pipeline, options);
		this.#ended = this.#read();
	}

	/** The ids of a collection that were touched since the last time this was asked. */
	take(collection: string): Buffer[] {
		const ids = [...(this.#touched.get(collection)?.values() ?? [])];
		this.#touched.delete(collection);
		return ids;
	}

	/** Resolves when everything before the marker has been seen. @throws {FeedLost} and what else ended the feed */
	async until(marker: string): Promise<void> {
		if (this.#seen.has(marker)) return;
		if (this.#failure !== null) throw this.#failure;
		const done = Promise.withResolvers<void>();
		this.#waiting = { mark: marker, done };
		await done.promise;
	}

	/** Resolves when the collection was renamed away: nobody has written to it under its name since. */
	untilRenamed(collection: string): Promise<void> {
		return this.until(renamed(collection));
	}

	async close(): Promise<void> {
		this.#failure ??= new Error("the change feed was closed");
		await this.#stream.close().catch(() => undefined);
		await this.#ended;
	}

	async #read(): Promise<void> {
		try {
			for (;;) this.#take(await this.#stream.next());
		} catch (error) {
			this.#failure ??= this.#explained(error);
			this.#waiting?.done.reject(this.#failure);
		}
	}

	#take({ operationType, ns, documentKey, fullDocument }: Document): void {
		if (operationType === "rename") this.#see(renamed(ns.coll));
		else if (ns?.coll === this.#place.markers) this.#see(fullDocument?.marker);
		else if (ROW_CHANGES.has(operationType)) this.#touch(ns.coll, toBuffer(documentKey._id));
	}

	#touch(collection: string, id: Buffer): void {
		const ids = this.#touched.get(collection) ?? new Map<string, Buffer>();
		this.#touched.set(collection, ids.set(id.toString("latin1"), id));
	}

	#see(mark: string | undefined): void {
		if (mark === undefined) return;
		this.#seen.add(mark);
		if (this.#waiting?.mark !== mark) return;
		this.#waiting.done.resolve();
		this.#waiting = null;
	}

	#explained(error: unknown): unknown {
		if (HISTORY_LOST.has(Number((error as { code?: unknown }).code)))
			return new FeedLost("the oplog no longer reaches back to the beginning of the copy");
		return isOutage(error) ? unavailable(this.#place.cluster, error) : error;
	}
}

function renamed(collection: string): string {
	return `renamed ${collection}`;
}
