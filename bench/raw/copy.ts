import { type Document, MongoClient } from "mongodb";
import { answer, ready } from "../answering.ts";
import type { Place } from "../places.ts";

// A bare loop with the driver: find in the order of `_id`, insertMany, into the same kind of collection. Nothing is looked at.

const BATCH = 2_000;
const MAJORITY = { w: "majority", j: true } as const;

const clients = new Map<string, Promise<MongoClient>>();

function clientAt(uri: string): Promise<MongoClient> {
	const kept = clients.get(uri) ?? new MongoClient(uri).connect();
	clients.set(uri, kept);
	return kept;
}

export interface CopyQuestion {
	from: Place;
	to: Place;
	/** WiredTiger settings of the target. */
	engine: string;
}

/** Rows per second. */
async function copy({ from, to, engine }: CopyQuestion): Promise<number> {
	const source = (await clientAt(from.uri)).db(from.database).collection(from.collection);
	const target = await (await clientAt(to.uri)).db(to.database).createCollection(to.collection, {
		clusteredIndex: { key: { _id: 1 }, unique: true },
		storageEngine: { wiredTiger: { configString: engine } },
	});
	const startMs = performance.now();
	let rows = 0;
	let batch: Document[] = [];
	const insert = async () => {
		rows += (await target.insertMany(batch, { ordered: false, writeConcern: MAJORITY })).insertedCount;
		batch = [];
	};
	for await (const row of source.find({}, { sort: { _id: 1 }, batchSize: BATCH, readConcern: "majority" })) {
		batch.push(row);
		if (batch.length === BATCH) await insert();
	}
	if (batch.length > 0) await insert();
	return (rows * 1_000) / (performance.now() - startMs);
}

answer(copy);
ready();
