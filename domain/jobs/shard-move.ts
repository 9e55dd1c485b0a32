import type { CollectionPlace, RoutingMap, ShardPlace } from "../../contracts/routing.ts";
import { isOpen } from "../routing/clusters.ts";
import { monthOfCollection, SHARD_CATALOG } from "../routing/collection-catalog.ts";
import { nextVersion, shardPlace } from "../routing/routing.ts";
import { holdsLock } from "./shard-lock.ts";

/** Decisions of a move of a whole shard from one cluster to another. */

/** The collections that lie with the shard, and move with it. An archived month stays where it is. */
export function movingNames({ collections }: ShardPlace): string[] {
	const all = Object.entries(collections).filter(([, { tier }]) => tier === "service" || tier === "moving");
	return all.map(([name]) => name).sort(byReading);
}

/**
 * Months before what is read together with them: a reader with an old map, who joins a month with its customer's marks, then meets the
 * month's new name first, and does not take marks that are gone for none.
 */
function byReading(one: string, other: string): number {
	const [first, second] = [one, other].map((name) => (monthOfCollection(name) === null ? 1 : 0)) as [number, number];
	return first - second || (one < other ? -1 : 1);
}

/** Whose rows are copied: `moves` tells of the move itself, and begins anew at the target. */
export function copiedNames(place: ShardPlace): string[] {
	return movingNames(place).filter((name) => name !== SHARD_CATALOG.moves.kind);
}

/** A collection was made while the shard moved, or was dropped: what is copied is not what is there. */
export class Outgrown extends Error {
	override readonly name = "Outgrown";
}

/** @throws {Outgrown} unless exactly these are the collections that move. */
export function rejectOutgrown(place: ShardPlace, copied: string[], shard: number): void {
	const names = movingNames(place);
	const strange = names.find((name) => !copied.includes(name)) ?? copied.find((name) => !names.includes(name));
	if (strange !== undefined) throw new Outgrown(`${strange} was made or dropped while shard ${shard} was being copied`);
}

/** The target of a move is being retired, or is none any more. */
export class TargetClosed extends Error {
	override readonly name = "TargetClosed";
}

/**
 * The map with the shard on its new cluster, and every collection by its new UUID. Null: the duty has passed to another.
 * @throws {Outgrown} {TargetClosed}
 */
export function withMovedShard(
	map: RoutingMap,
	shard: number,
	epoch: number,
	to: { cluster: string; uuids: ReadonlyMap<string, string> },
	now: Date,
): RoutingMap | null {
	if (!holdsLock(map, shard, epoch)) return null;
	if (!isOpen(map, to.cluster)) throw new TargetClosed(`the cluster ${to.cluster} is being retired`);
	const next = nextVersion(map, now);
	const place = shardPlace(next, shard);
	rejectOutgrown(place, [...to.uuids.keys()], shard);
	for (const [name, uuid] of to.uuids) place.collections[name] = { tier: "service", uuid };
	for (const held of Object.values(place.collections)) stayBehind(held, place.cluster);
	place.retained = [
		...(place.retained ?? []),
		{ cluster: place.cluster, epoch, since: now.toISOString(), settled: false },
	];
	place.cluster = to.cluster;
	return next;
}

/** The renamed source of an archived month does not move: it is about to be dropped. */
function stayBehind({ retained }: CollectionPlace, cluster: string): void {
	if (retained !== undefined) retained.cluster ??= cluster;
}

/** The map after what a move has left behind was settled, or is gone (`settled` null). Null: the duty has passed to another. */
export function withRetained(
	map: RoutingMap,
	shard: number,
	lock: number,
	{ epoch, settled }: { epoch: number; settled: true | null },
	now: Date,
): RoutingMap | null {
	if (!holdsLock(map, shard, lock)) return null;
	const next = nextVersion(map, now);
	const place = shardPlace(next, shard);
	const others = (place.retained ?? []).filter((retained) => retained.epoch !== epoch);
	const ours = (place.retained ?? []).filter((retained) => retained.epoch === epoch && settled !== null);
	place.retained = [...others, ...ours.map((retained) => ({ ...retained, settled: true }))];
	if (place.retained.length === 0) delete place.retained;
	return next;
}
