import { createServer, type ServerResponse } from "node:http";
import { type Collection, type Document, MongoClient } from "mongodb";
import { shardOf, userHash, userRange } from "../../domain/alarms/ids.ts";
import { type AlarmRow, toInbox } from "../../domain/alarms/rows.ts";
import { listen } from "../answering.ts";
import type { Place } from "../places.ts";

// A bare query server: the same find, the same JSON, no caller to check, no marks. `find`: a cursor and toArray(); `command`: one batch.

const places = JSON.parse(process.argv[2] ?? "[]") as Place[];
const mode = process.argv[3] ?? "find";
const PAGE = 20;
const UNREAD_CAP = 101;

const clients = new Map<string, MongoClient>();
for (const { uri } of places)
	if (!clients.has(uri))
		clients.set(uri, await new MongoClient(uri, { promoteBuffers: true, maxPoolSize: 64 }).connect());

function collectionOf(userId: string): Collection<Document & { _id: Buffer }> {
	const place = places[shardOf(userHash(userId), places.length)];
	const client = clients.get(place?.uri ?? "");
	if (place === undefined || client === undefined) throw new Error(`no place for ${userId}`);
	return client.db(place.database).collection(place.collection);
}

async function find(userId: string, filter: Document, limit: number, more: Document): Promise<Document[]> {
	const collection = collectionOf(userId);
	if (mode === "find") return collection.find(filter, { ...more, limit }).toArray();
	const reply = await clients
		.get(places[shardOf(userHash(userId), places.length)]?.uri ?? "")
		?.db(collection.dbName)
		.command({ find: collection.collectionName, filter, limit, batchSize: limit, singleBatch: true, ...more });
	return reply?.cursor.firstBatch ?? [];
}

function inboxFilter(userId: string): Document {
	const { low, high } = userRange(userId, 0, Date.now());
	return { _id: { $gte: low, $lte: high }, userId };
}

async function page(userId: string): Promise<object> {
	const rows = (await find(userId, inboxFilter(userId), PAGE, { sort: { _id: 1 } })) as AlarmRow[];
	return {
		items: rows.map((row) => toInbox({ ...row, _id: bufferOf(row._id) }, row.readAt !== undefined)),
		nextCursor: null,
	};
}

function bufferOf(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function unread(userId: string): Promise<object> {
	const filter = { ...inboxFilter(userId), readAt: { $exists: false } };
	const rows = await find(userId, filter, UNREAD_CAP, { projection: { _id: 0, category: 1 } });
	const byCategory: Record<string, number> = {};
	for (const { category } of rows) byCategory[category] = (byCategory[category] ?? 0) + 1;
	return { count: rows.length, byCategory };
}

async function one(userId: string, id: string): Promise<object | null> {
	const [row] = await find(userId, { _id: Buffer.from(id, "base64url"), userId }, 1, {});
	return row ?? null;
}

async function answerTo(url: string): Promise<object | null> {
	const [, , , userId = "", , rest] = url.split("/");
	if (rest === undefined) return page(userId);
	return rest === "unread-count" ? unread(userId) : one(userId, rest);
}

function send(res: ServerResponse, status: number, body: unknown): void {
	const text = JSON.stringify(body);
	// With its length known, Node writes head and body at once.
	res.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
	res.end(text);
}

listen(
	createServer((req, res) => {
		answerTo(req.url ?? "").then(
			(found) => send(res, found === null ? 404 : 200, found),
			(error: unknown) => send(res, 500, String(error)),
		);
	}),
);
