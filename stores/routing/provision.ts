import { MAP_ID, type RoutingMap } from "../../contracts/routing.ts";
import { isOpen } from "../../domain/routing/clusters.ts";
import {
	alarmsOf,
	CLUSTER_CATALOG,
	CLUSTER_DATABASE,
	catalogEntryOf,
	due,
	keyDaysBehind,
	keyDaysExpired,
	ledgerExpired,
	SHARD_CATALOG,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import { monthsDue } from "../../domain/routing/months.ts";
import { firstMap, isEmptyChange, type MapChange, withChange } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { dropCollection, ensureCollection, ensureIndexes } from "../mongo/collections.ts";
import { Refusal } from "../mongo/fatal-error.ts";
import { readLowWatermark } from "./low-watermark.ts";
import { copyDocument, ensureDocuments, loadDocument, MOST_TRIES, replaceDocument } from "./versioned-documents.ts";

export { MAP_ID };

/** The stored number of shards is not the configured one. It can never change: ids point into it. */
export class WrongShardCount extends Refusal {
	override readonly name = "WrongShardCount";
	constructor(stored: number, configured: number) {
		super(`LOGICAL_SHARDS is ${configured}, but this system was set up with ${stored}; set LOGICAL_SHARDS=${stored}`);
	}
}

/** The map of this system, made if there is none yet. */
export async function ensureMap(clusters: Clusters, shardCount: number, now: Date): Promise<RoutingMap> {
	const known = await loadDocument<RoutingMap>(clusters, MAP_ID);
	// Before anything is made: a cluster that was retired gets nothing.
	if (known !== null) clusters.learn(known);
	await ensureDocuments(clusters);
	const map = known ?? (await makeMap(clusters, shardCount, now));
	if (map.shards.length !== shardCount) throw new WrongShardCount(map.shards.length, shardCount);
	return map;
}

async function makeMap(clusters: Clusters, shardCount: number, now: Date): Promise<RoutingMap> {
	const map = firstMap(shardCount, [...clusters.service.keys()], now);
	if (await replaceDocument(clusters, MAP_ID, map)) return map;
	const theirs = await loadDocument<RoutingMap>(clusters, MAP_ID);
	if (theirs === null) throw new Error("the routing map was made by another process and vanished");
	return theirs;
}

/** What a round of `ensureCollections` did: the newest map, what was made (`c0/alarm_s03.alarms_2026_11`), and what could not be. */
interface Provision {
	map: RoutingMap;
	created: string[];
	errors: unknown[];
}

/**
 * Makes every collection that is due and drops ledger days and key days that are over; then changes the map by compare-and-set.
 * Safe to run anywhere, any number of times: what was made but not written into the map is found again the next time.
 * A cluster that is away holds up only its own collections.
 */
export async function ensureCollections(
	clusters: Clusters,
	map: RoutingMap,
	now: Date,
	triesLeft = MOST_TRIES,
): Promise<Provision> {
	// One that the map has forgotten gets nothing more.
	clusters.learn(map);
	const { change, errors } = await makeWhatIsDue(clusters, map, now);
	if (isEmptyChange(change)) {
		await copyDocument(clusters, MAP_ID, map);
		return { map, created: [], errors };
	}
	const next = withChange(map, change, now);
	if (await replaceDocument(clusters, MAP_ID, next)) return { map: next, created: namesOf(map, change), errors };
	if (triesLeft === 0) throw new Error("the routing map is being changed by others all the time; try again");
	const newer = (await loadDocument<RoutingMap>(clusters, MAP_ID)) ?? map;
	clusters.learn(newer);
	return ensureCollections(clusters, newer, now, triesLeft - 1);
}

/** Makes the indexes of all shards' collections that the map knows, and tells what could not be done. Cheap where they are there. */
export async function ensureShardIndexes(clusters: Clusters, map: RoutingMap): Promise<unknown[]> {
	const { errors } = await each(indexedOfShards(map), ({ shard, cluster, name, uuid, entry }) =>
		ensureIndexes(clusters.at(cluster), shardDatabase(shard), name, uuid, entry),
	);
	return errors;
}

function indexedOfShards(map: RoutingMap) {
	return map.shards.flatMap(({ cluster, collections }, shard) =>
		Object.entries(collections).flatMap(([name, { uuid }]) => {
			const entry = catalogEntryOf(SHARD_CATALOG, name);
			return entry?.indexes === undefined ? [] : [{ shard, cluster, name, uuid, entry }];
		}),
	);
}

async function makeWhatIsDue(
	clusters: Clusters,
	map: RoutingMap,
	now: Date,
): Promise<{ change: MapChange; errors: unknown[] }> {
	// Null, and then nothing is dropped, when it cannot be read.
	const watermarkMs = await readLowWatermark(clusters).catch(() => null);
	const ofShards = await each(missingOfShards(map, now, watermarkMs), async ({ shard, cluster, name, entry }) => {
		const uuid = await ensureCollection(clusters.at(cluster), shardDatabase(shard), name, entry);
		return { shard, name, uuid };
	});
	const ofClusters = await each(missingOfClusters(clusters, map, now), async ({ cluster, name, entry }) => {
		const uuid = await ensureCollection(clusters.at(cluster), CLUSTER_DATABASE, name, entry);
		return { cluster, name, uuid };
	});
	const dropped = await each(expiredLedgers(map, now), async ({ cluster, name, uuid }) => {
		await dropCollection(clusters.at(cluster), CLUSTER_DATABASE, name, uuid);
		return { cluster, name, uuid: null };
	});
	const keysDropped = await each(expiredKeyDays(map, watermarkMs), async ({ shard, cluster, name, uuid }) => {
		await dropCollection(clusters.at(cluster), shardDatabase(shard), name, uuid);
		return { shard, name, uuid: null };
	});
	const change = {
		shards: [...ofShards.done, ...keysDropped.done],
		clusters: [...ofClusters.done, ...dropped.done],
	};
	return { change, errors: [ofShards, ofClusters, dropped, keysDropped].flatMap(({ errors }) => errors) };
}

function missingOfShards(map: RoutingMap, now: Date, watermarkMs: number | null) {
	const { alarms, keys, ...others } = SHARD_CATALOG;
	const nowMs = now.getTime();
	return map.shards.flatMap(({ cluster, collections }, shard) => {
		const months = monthsDue(collections, nowMs).map((month) => ({ name: alarmsOf(month), entry: alarms }));
		const behind = keyDaysBehind(Object.keys(collections), nowMs, watermarkMs);
		const days = behind.map((name) => ({ name, entry: keys }));
		return [...months, ...due({ keys, ...others }, nowMs), ...days]
			.filter(({ name }) => collections[name] === undefined)
			.map(({ name, entry }) => ({ shard, cluster, name, entry }));
	});
}

function missingOfClusters(clusters: Clusters, map: RoutingMap, now: Date) {
	const open = [...clusters.service.keys()].filter((cluster) => isOpen(map, cluster));
	return open.flatMap((cluster) =>
		due(CLUSTER_CATALOG, now.getTime())
			.filter(({ name }) => map.clusters[cluster]?.collections[name] === undefined)
			.map(({ name, entry }) => ({ cluster, name, entry })),
	);
}

async function each<T, R>(list: T[], work: (one: T) => Promise<R>): Promise<{ done: R[]; errors: unknown[] }> {
	const settled = await Promise.allSettled(list.map(work));
	return {
		done: settled.filter((one) => one.status === "fulfilled").map(({ value }) => value),
		errors: settled.filter((one) => one.status === "rejected").map(({ reason }) => reason),
	};
}

/** Dropped first and forgotten after: a crash between the two is made good the next time. Who still knows them gets error 361. */
function expiredLedgers(map: RoutingMap, now: Date): { cluster: string; name: string; uuid: string }[] {
	return Object.entries(map.clusters).flatMap(([cluster, { collections }]) =>
		ledgerExpired(Object.keys(collections), now.getTime()).map((name) => ({
			cluster,
			name,
			uuid: collections[name]?.uuid ?? "",
		})),
	);
}

function expiredKeyDays(map: RoutingMap, watermarkMs: number | null) {
	if (watermarkMs === null) return [];
	return map.shards.flatMap(({ cluster, collections }, shard) =>
		keyDaysExpired(Object.keys(collections), watermarkMs).map((name) => ({
			shard,
			cluster,
			name,
			uuid: collections[name]?.uuid ?? "",
		})),
	);
}

function namesOf(map: RoutingMap, change: MapChange): string[] {
	const ofShards = change.shards
		.filter(({ uuid }) => uuid !== null)
		.map(({ shard, name }) => `${map.shards[shard]?.cluster}/${shardDatabase(shard)}.${name}`);
	const ofClusters = change.clusters.filter(({ uuid }) => uuid !== null);
	return [...ofShards, ...ofClusters.map(({ cluster, name }) => `${cluster}/${CLUSTER_DATABASE}.${name}`)];
}
