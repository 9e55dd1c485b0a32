import { type Document, MongoClient } from "mongodb";
import { connect } from "nats";
import { newAlarmId, shardOf } from "../../domain/alarms/ids.ts";
import { streamOf, WORKER } from "../../streams/lanes.ts";
import { ready } from "../answering.ts";
import type { Place } from "../places.ts";

// A bare worker for the bare creation server: a message's alarms are inserted as they are, then the message is acked.

const [natsUrl = "", placesText = "[]"] = process.argv.slice(2);
const places = JSON.parse(placesText) as Place[];
const MAJORITY = { w: "majority", j: true };

const clients = new Map<string, MongoClient>();
for (const { uri } of places) if (!clients.has(uri)) clients.set(uri, await new MongoClient(uri).connect());

async function insert(line: string): Promise<void> {
	const { id, alarm } = JSON.parse(line) as { id: string; alarm: Document };
	const _id = Buffer.from(id, "base64url");
	const place = places[shardOf(_id, places.length)];
	if (place === undefined || _id.length !== newAlarmId("", 0).length) throw new Error(`no place for ${id}`);
	const document = { _id, ...alarm };
	await clients
		.get(place.uri)
		?.db(place.database)
		.command({ insert: place.collection, documents: [document], writeConcern: MAJORITY });
}

async function consume(): Promise<void> {
	const connection = await connect({ servers: natsUrl });
	const consumer = await connection.jetstream().consumers.get(streamOf("realtime"), WORKER);
	for await (const message of await consumer.consume({ max_messages: 128 })) {
		void Promise.all(message.string().split("\n").map(insert)).then(() => message.ack());
	}
}

void consume();
ready();
