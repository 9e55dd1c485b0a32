import { type Document, MongoClient } from "mongodb";
import { shardOf } from "../../domain/alarms/ids.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { answer, ready } from "../answering.ts";
import type { Place } from "../places.ts";
import { freshAlarm, storedRow } from "../sample.ts";

// Sorted unordered inserts of the documents that a worker would make, into the same collections, a few commands in flight.

const places = JSON.parse(process.argv[2] ?? "[]") as Place[];
const COMMAND_ROWS = 1_000;
const IN_FLIGHT = 4;
const MAJORITY = { w: "majority", j: true };

const clients = new Map<string, MongoClient>();
for (const { uri } of places) if (!clients.has(uri)) clients.set(uri, await new MongoClient(uri).connect());

interface Chunk {
	place: Place;
	rows: AlarmRow[];
}

/** Rows in the order of arrival, cut per shard, each command sorted by `_id`: as a worker with perfect foresight would. */
function chunksOf(count: number, salt: string): Chunk[] {
	const chunks: Chunk[] = [];
	const open = new Map<Place, AlarmRow[]>();
	for (let at = 0; at < count; at++) {
		const row = storedRow(freshAlarm(at, salt), Date.now());
		const place = places[shardOf(row._id, places.length)];
		if (place === undefined) throw new Error("no place");
		const rows = open.get(place) ?? [];
		rows.push(row);
		open.set(place, rows);
		if (rows.length < COMMAND_ROWS) continue;
		chunks.push({ place, rows });
		open.delete(place);
	}
	for (const [place, rows] of open) chunks.push({ place, rows });
	for (const { rows } of chunks) rows.sort((one, other) => one._id.compare(other._id));
	return chunks;
}

async function insert({ place, rows }: Chunk): Promise<void> {
	const reply = await clients
		.get(place.uri)
		?.db(place.database)
		.command({
			insert: place.collection,
			documents: rows as unknown as Document[],
			ordered: false,
			writeConcern: MAJORITY,
		});
	if (reply?.n !== rows.length) throw new Error(`inserted ${reply?.n} of ${rows.length}`);
}

/** Alarms stored per second; the documents are made before the clock runs. */
async function insertAll({ count, salt }: { count: number; salt: string }): Promise<number> {
	const chunks = chunksOf(count, salt).values();
	const startMs = performance.now();
	const hand = async () => {
		for (const chunk of chunks) await insert(chunk);
	};
	await Promise.all(Array.from({ length: IN_FLIGHT }, hand));
	return (count * 1_000) / (performance.now() - startMs);
}

answer(insertAll);
ready();
