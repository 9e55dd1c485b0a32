import type { CollectionPlace, RoutingMap, ShardPlace, Tier } from "../../contracts/routing.ts";
import { idTimeMs, shardOf } from "../alarms/ids.ts";
import { type Month, monthOf } from "../time/periods.ts";
import { alarmsOf, archiveDatabase, monthOfCollection, shardDatabase } from "./collection-catalog.ts";
import { monthIsComing } from "./months.ts";

/** One collection as a command needs it: which cluster, which database, which name, and which UUID it must still have. */
export interface Target {
	cluster: string;
	database: string;
	collection: string;
	uuid: string;
	tier: Tier;
}

/** The map of a new system: logical shards dealt over the clusters in turn. */
export function firstMap(shardCount: number, clusterNames: string[], now: Date): RoutingMap {
	const shards = Array.from({ length: shardCount }, (_, shard) => ({
		cluster: clusterNames[shard % clusterNames.length] ?? "",
		collections: {},
	}));
	const clusters = Object.fromEntries(clusterNames.map((name) => [name, { collections: {} }]));
	return { version: 1, changedAt: now.toISOString(), shards, clusters };
}

export function shardPlace(map: RoutingMap, shard: number): ShardPlace {
	const place = map.shards[shard];
	if (place === undefined) throw new Error(`the routing map has no shard ${shard}`);
	return place;
}

/** One collection of a shard, or null when the map does not know it, or says that it is gone. */
export function shardTarget(map: RoutingMap, shard: number, collection: string): Target | null {
	const { cluster, collections } = shardPlace(map, shard);
	const place = collections[collection];
	if (place?.tier === "dropped") return null;
	if (place?.tier === "archive") return targetOf(place, place.cluster ?? cluster, archiveDatabase(shard), collection);
	return targetOf(place, cluster, shardDatabase(shard), collection);
}

/** Read-only, on an archive cluster. */
export function isArchived({ tier }: Target): boolean {
	return tier === "archive";
}

/** One collection that a cluster holds beside its shards, or null. */
export function clusterTarget(map: RoutingMap, cluster: string, database: string, collection: string): Target | null {
	return targetOf(map.clusters[cluster]?.collections[collection], cluster, database, collection);
}

function targetOf(place: CollectionPlace | undefined, cluster: string, database: string, collection: string) {
	return place === undefined ? null : { cluster, database, collection, uuid: place.uuid, tier: place.tier };
}

/** Where the slot of an alarm id is: from the id alone, never from the clock. Null when its month has no collection. */
export function slotOf(map: RoutingMap, id: Uint8Array): Target | null {
	return shardTarget(map, shardOf(id, map.shards.length), alarmsOf(monthOf(idTimeMs(id))));
}

/** Whether the slot of an id can still change: its month is neither archived nor gone. */
export function isInService(map: RoutingMap, id: Uint8Array): boolean {
	const target = slotOf(map, id);
	return target !== null && !isArchived(target);
}

/** Months that a shard holds, in whichever tier, newest first. */
export function monthsPresent(map: RoutingMap, shard: number): Month[] {
	const places = Object.entries(shardPlace(map, shard).collections);
	const names = places.filter(([, { tier }]) => tier !== "dropped").map(([name]) => name);
	return names
		.map(monthOfCollection)
		.filter((month) => month !== null)
		.sort()
		.reverse();
}

/** Whether an id that has no slot will have one: its month is still to be made (wait for it), or over (the alarm is too late). */
export function slotIsComing(map: RoutingMap, id: Uint8Array, nowMs: number): boolean {
	return monthIsComing(monthOf(idTimeMs(id)), shardPlace(map, shardOf(id, map.shards.length)).collections, nowMs);
}

/** Where the source of an archived month stands until it is renamed away: beside its copy, and no double of it. */
export function sourceOf(map: RoutingMap, id: Uint8Array): Omit<Target, "tier"> | null {
	const shard = shardOf(id, map.shards.length);
	const { cluster, collections } = shardPlace(map, shard);
	const collection = alarmsOf(monthOf(idTimeMs(id)));
	const retained = collections[collection]?.retained;
	if (retained === undefined) return null;
	return { cluster: retained.cluster ?? cluster, database: shardDatabase(shard), collection, uuid: retained.uuid };
}

/** One change of the map: collections that were made or are gone, per shard and per cluster. */
export interface MapChange {
	shards: { shard: number; name: string; uuid: string | null }[];
	clusters: { cluster: string; name: string; uuid: string | null }[];
}

export function isEmptyChange(change: MapChange): boolean {
	return change.shards.length === 0 && change.clusters.length === 0;
}

/** The next version of `map` with `change` in it; `map` stays as it is. A null uuid takes a collection out. */
export function withChange(map: RoutingMap, change: MapChange, now: Date): RoutingMap {
	const next = { ...structuredClone(map), version: map.version + 1, changedAt: now.toISOString() };
	for (const { shard, name, uuid } of change.shards) {
		putPlace(shardPlace(next, shard).collections, name, uuid);
	}
	for (const { cluster, name, uuid } of change.clusters) {
		const place = next.clusters[cluster] ?? { collections: {} };
		next.clusters[cluster] = place;
		putPlace(place.collections, name, uuid);
	}
	return next;
}

function putPlace(collections: Record<string, CollectionPlace>, name: string, uuid: string | null): void {
	if (uuid === null) delete collections[name];
	else collections[name] = { tier: "service", uuid };
}

/** A copy of the map with the next version, to be changed. */
export function nextVersion(map: RoutingMap, now: Date): RoutingMap {
	return { ...structuredClone(map), version: map.version + 1, changedAt: now.toISOString() };
}
