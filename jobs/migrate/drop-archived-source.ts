import type { RoutingMap } from "../../contracts/routing.ts";
import { monthOfCollection, retainedArchiveOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardPlace, shardTarget } from "../../domain/routing/routing.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { dropCollection } from "../../stores/mongo/collections.ts";
import { mustStand } from "../../stores/mongo/commands.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type LockDeps, type ShardLock, withShardLock } from "../lock/shard-lock.ts";

/** Sources of archived months, renamed away: dropped when they were found equal to their copy, and the grace time is over. */

interface Kept {
	shard: number;
	/** Name of the month in the map. */
	name: string;
	uuid: string;
}

/** Drops what is due, and tells the names. A shard that is busy comes the next time. */
export async function dropRetainedArchives(
	deps: LockDeps,
	graceMs: number,
): Promise<{ dropped: string[]; errors: unknown[] }> {
	const due = dueIn(await newestMap(deps.clusters), deps.nowMs() - graceMs);
	const dropped: string[] = [];
	const errors: unknown[] = [];
	for (const [shard, kept] of Map.groupBy(due, ({ shard }) => shard)) {
		try {
			dropped.push(...(await dropOfShard(deps, shard, kept)));
		} catch (error) {
			errors.push(error);
		}
	}
	return { dropped, errors };
}

function dueIn(map: RoutingMap, beforeMs: number): Kept[] {
	return map.shards.flatMap(({ collections }, shard) =>
		Object.entries(collections).flatMap(([name, { retained }]): Kept[] => {
			const isDue = retained?.settled === true && Date.parse(retained.since) <= beforeMs;
			return isDue ? [{ shard, name, uuid: retained.uuid }] : [];
		}),
	);
}

async function dropOfShard(deps: LockDeps, shard: number, kept: Kept[]): Promise<string[]> {
	const dropped: string[] = [];
	await withShardLock(deps, shard, { kind: "drop", run: "retained archives" }, async (lock) => {
		for (const one of kept) if (await dropOne(deps, lock, one)) dropped.push(one.name);
	});
	return dropped;
}

async function dropOne({ clusters }: LockDeps, lock: ShardLock, { name, uuid }: Kept): Promise<boolean> {
	const place = lock.place(name);
	// Another was here between the look and the duty.
	if (place?.retained?.uuid !== uuid || !place.retained.settled) return false;
	const cluster = clusters.at(place.retained.cluster ?? shardPlace(lock.map, lock.shard).cluster);
	await mustBeArchived(clusters, lock, name);
	lock.mustHold();
	await dropCollection(cluster, shardDatabase(lock.shard), retainedArchiveOf(monthOfCollection(name) ?? ""), uuid);
	const { retained: _, ...rest } = place;
	await lock.setPlace(name, rest);
	return true;
}

/** From then on the copy is all there is of the month: a server that was replaced or restored must not cost both. @throws if it is not there. */
async function mustBeArchived(clusters: Clusters, { map, shard }: ShardLock, name: string): Promise<void> {
	const target = shardTarget(map, shard, name);
	if (target === null) throw new Error(`${name} of shard ${shard} is being dropped; its source is kept`);
	await mustStand(clusters, target, retainedArchiveOf(monthOfCollection(name) ?? ""));
}
