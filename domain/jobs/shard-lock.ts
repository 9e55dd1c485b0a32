import type { CollectionPlace, LockKind, LockRecord, RoutingMap } from "../../contracts/routing.ts";
import { nextVersion, shardPlace } from "../routing/routing.ts";

/** Changes of the map by whoever has a duty on a shard. Null: the duty has passed to another, and nothing may be changed. */

/** The next version of the map, with the shard's epoch raised and the duty given; whoever had one before has lost it. */
export function withLock(
	map: RoutingMap,
	shard: number,
	{ kind, run, holder }: { kind: LockKind; run: string; holder: string },
	now: Date,
): RoutingMap {
	const next = nextVersion(map, now);
	const place = shardPlace(next, shard);
	const epoch = (place.epoch ?? 0) + 1;
	place.epoch = epoch;
	place.lock = { kind, epoch, run, holder, since: now.toISOString() };
	return next;
}

export function holdsLock(map: RoutingMap, shard: number, epoch: number): boolean {
	return shardPlace(map, shard).lock?.epoch === epoch;
}

export function lockOf(map: RoutingMap, shard: number): LockRecord | null {
	return shardPlace(map, shard).lock ?? null;
}

export function withoutLock(map: RoutingMap, shard: number, epoch: number, now: Date): RoutingMap | null {
	if (!holdsLock(map, shard, epoch)) return null;
	const next = nextVersion(map, now);
	delete shardPlace(next, shard).lock;
	return next;
}

/** Puts one collection of the shard in its new place; null takes it out of the map. */
export function withPlace(
	map: RoutingMap,
	shard: number,
	epoch: number,
	name: string,
	place: CollectionPlace | null,
	now: Date,
): RoutingMap | null {
	if (!holdsLock(map, shard, epoch)) return null;
	const next = nextVersion(map, now);
	const { collections } = shardPlace(next, shard);
	if (place === null) delete collections[name];
	else collections[name] = place;
	return next;
}
