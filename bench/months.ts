import type { Document } from "mongodb";
import type { RoutingMap } from "../contracts/routing.ts";
import { shardOf } from "../domain/alarms/ids.ts";
import type { AlarmRow } from "../domain/alarms/rows.ts";
import { insertResults } from "../domain/alarms/write-results.ts";
import { alarmsOf } from "../domain/routing/collection-catalog.ts";
import { shardTarget, type Target } from "../domain/routing/routing.ts";
import { type Month, monthEndMs, monthStartMs } from "../domain/time/periods.ts";
import type { Clusters } from "../stores/mongo/clusters.ts";
import { insertInto } from "../stores/mongo/commands.ts";
import { SAMPLE_SIZE, storedRow, variedAlarm } from "./sample.ts";

/** Past months with alarms in them, as the service would have made and stored them at the time. */

const COMMAND_ROWS = 2_000;
const IN_FLIGHT = 4;

export function targetIn(map: RoutingMap, shard: number, month: Month): Target {
	const target = shardTarget(map, shard, alarmsOf(month));
	if (target === null) throw new Error(`shard ${shard} has no ${month}`);
	return target;
}

/** So many alarms of a month in the order of their arrival, each for one of the customers at random, a command's worth at a time. */
export function* arrivals(month: Month, customers: string[], count: number): Generator<AlarmRow[]> {
	const stepMs = (monthEndMs(month) - monthStartMs(month)) / count;
	for (let first = 0; first < count; first += COMMAND_ROWS) {
		yield Array.from({ length: Math.min(COMMAND_ROWS, count - first) }, (_, index) => {
			const at = first + index;
			const userId = customers[Math.floor(Math.random() * customers.length)] ?? "";
			const timeMs = Math.floor(monthStartMs(month) + at * stepMs);
			return storedRow(variedAlarm(Math.floor(Math.random() * SAMPLE_SIZE), userId, timeMs), timeMs);
		});
	}
}

/** Puts rows into one month of one shard as a worker does: each command sorted by `_id`. */
export async function putInto(clusters: Clusters, target: Target, chunks: Iterable<AlarmRow[]>): Promise<void> {
	await inTurns(chunks, async (rows) => {
		const sorted = rows.toSorted((one, other) => one._id.compare(other._id));
		const verdicts = insertResults(await insertInto(clusters, target, sorted as unknown as Document[]), rows.length);
		const wrong = verdicts.find((verdict) => verdict !== "stored");
		if (wrong !== undefined) throw new Error(`${target.collection} answered ${wrong}`);
	});
}

/** Puts rows of any shard into one month. */
export async function putAll(clusters: Clusters, map: RoutingMap, month: Month, rows: AlarmRow[]): Promise<void> {
	const byShard = Map.groupBy(rows, ({ _id }) => shardOf(_id, map.shards.length));
	for (const [shard, own] of byShard) await putInto(clusters, targetIn(map, shard, month), sliced(own));
}

function* sliced(rows: AlarmRow[]): Generator<AlarmRow[]> {
	for (let at = 0; at < rows.length; at += COMMAND_ROWS) yield rows.slice(at, at + COMMAND_ROWS);
}

/** A few commands in flight. */
export async function inTurns<T>(all: Iterable<T>, work: (one: T) => Promise<void>): Promise<void> {
	const turns = all[Symbol.iterator]();
	const hand = async () => {
		for (let { done, value } = turns.next(); !done; { done, value } = turns.next()) await work(value);
	};
	await Promise.all(Array.from({ length: IN_FLIGHT }, hand));
}

export interface Size {
	rows: number;
	/** Of rows and indexes on disk. */
	bytes: number;
	/** Rows that were deleted from this collection, one by one, since it was opened. */
	removes: number;
}

/** After a checkpoint, so that what is on disk is all there is. */
export async function bytesOf(
	clusters: Clusters,
	cluster: string,
	database: string,
	collection: string,
): Promise<Size> {
	await clusters.at(cluster).command("admin", { fsync: 1 });
	const stats = await clusters.at(cluster).command(database, { collStats: collection });
	return {
		rows: Number(stats.count),
		bytes: Number(stats.storageSize) + Number(stats.totalIndexSize),
		removes: Number(stats.wiredTiger.cursor["remove calls"]),
	};
}
