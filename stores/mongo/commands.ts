import type { Document } from "mongodb";
import { FENCED, MOVED, type WriteReply } from "../../domain/alarms/write-results.ts";
import { isArchived, type Target } from "../../domain/routing/routing.ts";
import { archiveUnavailable } from "./archive-breaker.ts";
import type { Clusters } from "./clusters.ts";
import { uuidBinary } from "./collections.ts";
import { MAJORITY } from "./write-concern.ts";

/** The commands of the hot path. Each carries the collection's UUID: a dropped or replaced collection answers 361 instead of lying. */

/** The collection rejects writes for a moment, because it is being moved. */
export class Fenced extends Error {
	override readonly name = "Fenced";
}

/** The collection of a write was dropped or replaced: a write answers 361 among its write errors, where a read throws it. */
class Moved extends Error {
	override readonly name = "Moved";
	readonly code = MOVED;
}

export function isMoved(error: unknown): boolean {
	return (error as { code?: unknown } | null)?.code === MOVED;
}

async function writeTo(clusters: Clusters, target: Target, command: Document): Promise<WriteReply> {
	const guard = { collectionUUID: uuidBinary(target.uuid), writeConcern: MAJORITY };
	const reply: WriteReply = await clusters.at(target.cluster).command(target.database, { ...command, ...guard });
	if (reply.writeErrors?.some(({ code }) => code === MOVED)) throw new Moved(`${target.database}.${target.collection}`);
	return reply;
}

export async function insertInto(clusters: Clusters, target: Target, documents: Document[]): Promise<WriteReply> {
	return writeTo(clusters, target, { insert: target.collection, documents, ordered: false });
}

/** Puts `row` in the place of the one document that `q` finds, or where none with its `_id` stands. The reply reads like an insert's. */
export async function putInto(clusters: Clusters, target: Target, q: Document, row: Document): Promise<WriteReply> {
	return writeTo(clusters, target, { update: target.collection, updates: [{ q, u: row, upsert: true }] });
}

/** Deletes one document; gone already is as good. */
export async function deleteOne(clusters: Clusters, target: Target, q: Document): Promise<void> {
	const reply = await writeTo(clusters, target, { delete: target.collection, deletes: [{ q, limit: 1 }] });
	rejectWrongReply(reply, target);
}

/** Deletes the documents with these ids, which are in order, and tells how many there were. A fence lets it pass. */
export async function deleteByIds(clusters: Clusters, target: Target, ids: Buffer[]): Promise<number> {
	// The bounds beside the list: whatever a server makes of `$in`, it looks at no more of the tree than that.
	const q = { _id: { $gte: ids.at(0), $lte: ids.at(-1), $in: ids } };
	const reply = await writeTo(clusters, target, { delete: target.collection, deletes: [{ q, limit: 0 }] });
	rejectWrongReply(reply, target);
	return reply.n ?? 0;
}

/** @throws {Fenced} and any other error of a single write. */
function rejectWrongReply({ writeErrors = [], writeConcernError }: WriteReply, target: Target): void {
	const [error] = writeErrors;
	const name = `${target.database}.${target.collection}`;
	if (error?.code === FENCED) throw new Fenced(name);
	const wrong = error?.errmsg ?? writeConcernError?.errmsg;
	if (wrong !== undefined) throw new Error(`the write to ${name} failed: ${wrong}`);
}

/** Updates one document and tells whether there was one. @throws {Fenced} while its collection is being moved. */
export async function updateOne(
	clusters: Clusters,
	target: Target,
	q: Document,
	u: Document | Document[],
	upsert = false,
): Promise<boolean> {
	const reply = await writeTo(clusters, target, { update: target.collection, updates: [{ q, u, upsert }] });
	rejectWrongReply(reply, target);
	return reply.n === 1;
}

/** Updates that all have to succeed; one that finds nothing to update is as good. @throws when one was refused, or is not safe. */
export async function updateAll(
	clusters: Clusters,
	target: Target,
	updates: { q: Document; u: Document }[],
): Promise<void> {
	rejectWrongReply(await writeTo(clusters, target, { update: target.collection, updates, ordered: false }), target);
}

/** A find of one batch. `batchSize` = `limit`, or at most 101 rows would come back. */
function findCommand(target: Target, filter: Document, limit: number, more: Document = {}): Document {
	return {
		find: target.collection,
		filter,
		limit,
		batchSize: limit,
		singleBatch: true,
		collectionUUID: uuidBinary(target.uuid),
		...more,
	};
}

export async function findIn<T>(
	clusters: Clusters,
	target: Target,
	filter: Document,
	limit: number,
	more?: Document,
): Promise<T[]> {
	const reply = await readFrom(clusters, target, findCommand(target, filter, limit, more));
	return (reply.cursor.firstBatch as Document[]).map(withBufferId) as T[];
}

/** @throws when the collection is not where the map says; `kept` is what stays because of that. */
export async function mustStand(clusters: Clusters, target: Target, kept: string): Promise<void> {
	const { cluster, database, collection } = target;
	try {
		await clusters.at(cluster).read(database, findCommand(target, {}, 1, { projection: { _id: 1 } }));
	} catch (error) {
		if (!isMoved(error)) throw error;
		const where = `${database}.${collection} is not on ${cluster} as the routing map knows it`;
		throw new Error(`${where}: was that server replaced or restored? ${kept} is kept`);
	}
}

/** @throws {Fault} ARCHIVE_UNAVAILABLE instead of UNAVAILABLE where the target is archived. */
function readFrom(clusters: Clusters, target: Target, command: Document): Promise<Document> {
	if (!isArchived(target)) return clusters.at(target.cluster).read(target.database, command);
	const cluster = clusters.archive.get(target.cluster);
	// Taken out of the configuration, or not yet in it: newer alarms can be read all the same.
	if (cluster === undefined) return Promise.reject(archiveUnavailable(target.cluster));
	return clusters.archiveBreaker.read(cluster, target.database, command);
}

/** A pipeline of at most `most` rows, in one batch. The UUID guards its own collection; one that it joins moves together with it. */
export async function aggregateIn<T>(
	clusters: Clusters,
	target: Target,
	most: number,
	pipeline: Document[],
): Promise<T[]> {
	const reply = await clusters.at(target.cluster).read(target.database, {
		aggregate: target.collection,
		pipeline,
		// One more than can come: the cursor is then exhausted, and none stays open.
		cursor: { batchSize: most + 1 },
		collectionUUID: uuidBinary(target.uuid),
	});
	return (reply.cursor.firstBatch as Document[]).map(withBufferId) as T[];
}

/** The driver gives binaries as Uint8Array, which neither compares nor equals. A view, no copy. */
export function toBuffer(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function withBufferId(row: Document): Document {
	if (typeof row._id === "object") row._id = toBuffer(row._id);
	return row;
}
