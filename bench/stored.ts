import type { Document } from "mongodb";
import { MongoClient } from "mongodb";
import { shardOf } from "../domain/alarms/ids.ts";
import type { AlarmRow } from "../domain/alarms/rows.ts";
import { monthOf, monthStartMs } from "../domain/time/periods.ts";
import { customerToken } from "../ops/credentials.ts";
import type { Lab } from "./lab.ts";
import { type Place, placesOf } from "./places.ts";
import { sampleAlarm, storedRow } from "./sample.ts";

/** Inboxes to read from, put straight into the databases. */

const COMMAND_ROWS = 2_000;

/** Rows of each customer, spread over the month so far; one of `readOf` in so many is read. */
export function inboxRows(userIds: string[], alarmsEach: number, isRead: (at: number) => boolean): AlarmRow[] {
	const nowMs = Date.now();
	const startMs = Math.max(monthStartMs(monthOf(nowMs)), nowMs - 20 * 86_400_000);
	const stepMs = (nowMs - startMs) / (alarmsEach + 1);
	return userIds.flatMap((userId, owner) =>
		Array.from({ length: alarmsEach }, (_, at) => {
			const row = storedRow({ ...sampleAlarm(owner + at * 31), userId }, Math.floor(startMs + at * stepMs));
			return isRead(at) ? { ...row, readAt: new Date(nowMs) } : row;
		}),
	);
}

/** Puts rows where the service looks for them. */
export async function storeRows(lab: Lab, rows: AlarmRow[]): Promise<void> {
	const places = placesOf(lab);
	const byPlace = Map.groupBy(rows, ({ _id }) => places[shardOf(_id, places.length)]);
	const clients = new Map<string, MongoClient>();
	for (const { uri } of places) if (!clients.has(uri)) clients.set(uri, await new MongoClient(uri).connect());
	try {
		for (const [place, own] of byPlace) if (place) await storeInto(clients.get(place.uri), place, own);
		// Else the checkpoint of all this would run beside the first measurements.
		for (const client of clients.values()) await client.db("admin").command({ fsync: 1 });
	} finally {
		for (const client of clients.values()) await client.close();
	}
}

async function storeInto(
	client: MongoClient | undefined,
	{ database, collection }: Place,
	rows: AlarmRow[],
): Promise<void> {
	rows.sort((one, other) => one._id.compare(other._id));
	for (let at = 0; at < rows.length; at += COMMAND_ROWS) {
		const documents = rows.slice(at, at + COMMAND_ROWS) as unknown as Document[];
		await client?.db(database).command({ insert: collection, documents, ordered: false });
	}
}

/** A token for each customer, in order. */
export function tokensOf({ keys }: Lab, userIds: string[]): Promise<string[]> {
	return Promise.all(userIds.map((userId) => customerToken(keys.signingKey, userId)));
}
