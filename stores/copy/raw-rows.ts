import type { Document } from "mongodb";
// The driver's own way of sending documents that are BSON already; `insertMany` would build each anew.
import { DocumentSequence } from "mongodb/lib/cmap/commands.js";
import { ID_BYTES } from "../../domain/alarms/ids.ts";
import { insertResults } from "../../domain/alarms/write-results.ts";
import type { Target } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { uuidBinary } from "../mongo/collections.ts";
import { deleteByIds, insertInto } from "../mongo/commands.ts";

/** Rows as the bytes that the server stores, so that a copy is equal to the last bit: no field reordered, no type widened. */
export type RawRow = Buffer;

/** int32 length, 0x05, "_id\0", int32 20, subtype 0: the server keeps `_id` first. */
const ID_AT = 14;
const BINARY = 0x05;

/** @throws on a row whose `_id` is no 20 bytes: no alarm is made like that. */
export function rawId(row: RawRow): Buffer {
	if (row[4] !== BINARY || row.readInt32LE(9) !== ID_BYTES) throw new Error("a row's _id is not one of an alarm");
	return row.subarray(ID_AT, ID_AT + ID_BYTES);
}

/** How many rows these collections hold in all, by their own counts. */
export async function countRows(clusters: Clusters, targets: Target[]): Promise<number> {
	const count = async ({ cluster, database, collection }: Target) =>
		(await clusters.at(cluster).read(database, { count: collection })).n as number;
	return (await Promise.all(targets.map(count))).reduce((sum, one) => sum + one, 0);
}

/** The next rows in the order of `_id`, of what a majority has; fewer than `limit` if they are large, none at the end. */
export function readRaw(clusters: Clusters, target: Target, after: Buffer | null, limit: number): Promise<RawRow[]> {
	return findRaw(clusters, target, after === null ? {} : { _id: { $gt: after } }, limit);
}

/** The rows of these ids, in the order of `_id`. */
export async function readRawByIds(clusters: Clusters, target: Target, ids: Buffer[]): Promise<RawRow[]> {
	const rows: RawRow[] = [];
	for (let left = ids.toSorted(Buffer.compare); left.length > 0; ) {
		const found = await findRaw(clusters, target, { _id: { $in: left } }, left.length);
		rows.push(...found);
		const last = found.at(-1);
		// Large rows do not all fit into one answer.
		left = last === undefined ? [] : left.filter((id) => id.compare(rawId(last)) > 0);
	}
	return rows;
}

function findRaw(clusters: Clusters, target: Target, filter: Document, limit: number): Promise<RawRow[]> {
	return clusters.at(target.cluster).readRaw(target.database, {
		find: target.collection,
		filter,
		sort: { _id: 1 },
		limit,
		batchSize: limit,
		readConcern: { level: "majority" },
		collectionUUID: uuidBinary(target.uuid),
	});
}

/** Bytes of one insert at most; the server takes 48 MB. */
const MESSAGE_BYTES = 16 * 1024 * 1024;

/** Inserts rows as they are. One that is there already is as good; whether it is equal is for the comparison to say. */
export async function insertRaw(clusters: Clusters, target: Target, rows: RawRow[]): Promise<void> {
	for (const message of messagesOf(rows)) {
		const reply = await insertInto(clusters, target, message as unknown as Document[]);
		const results = insertResults(reply, message.documents.length);
		const wrong = results.find((result) => result !== "stored" && result !== "duplicate");
		if (wrong !== undefined) throw new Error(`${nameOf(target)} answered to a copy: ${wrong}`);
	}
}

/** Puts rows in the place of those with their ids, or of none; ids without a row are taken out. */
export async function replaceRaw(clusters: Clusters, target: Target, ids: Buffer[], rows: RawRow[]): Promise<void> {
	if (ids.length === 0) return;
	await deleteByIds(clusters, target, ids.toSorted(Buffer.compare));
	await insertRaw(clusters, target, rows);
}

interface Message extends DocumentSequence {
	documents: RawRow[];
}

function messagesOf(rows: RawRow[]): Message[] {
	const messages: Message[] = [];
	let bytes = Number.POSITIVE_INFINITY;
	for (const row of rows) {
		if (bytes + row.length > MESSAGE_BYTES) {
			messages.push(new DocumentSequence("documents") as Message);
			bytes = 0;
		}
		messages.at(-1)?.push(row, row);
		bytes += row.length;
	}
	return messages;
}

function nameOf({ cluster, database, collection }: Target): string {
	return `${cluster}/${database}.${collection}`;
}
