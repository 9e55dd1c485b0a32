import type { RoutingMap } from "../../contracts/routing.ts";
import { MOVED } from "../../domain/alarms/write-results.ts";
import { shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardPlace, type Target } from "../../domain/routing/routing.ts";
import { liftFence } from "../../stores/copy/write-fence.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { isFenced, listCollections } from "../../stores/mongo/collections.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type LockDeps, type ShardLock, withShardLock } from "./shard-lock.ts";

/**
 * Lifts every fence that nobody alive stands for: its mover died, or slept and set it after another had taken over. Tells which shards'.
 */
export async function liftDeadFences(deps: LockDeps): Promise<{ lifted: string[]; errors: unknown[] }> {
	const map = await newestMap(deps.clusters);
	const rounds = await Promise.allSettled(map.shards.map((_, shard) => liftOfShard(deps, map, shard)));
	return {
		lifted: rounds.flatMap((round) => (round.status === "fulfilled" ? round.value : [])),
		errors: rounds.flatMap((round) => (round.status === "rejected" ? [round.reason] : [])),
	};
}

async function liftOfShard(deps: LockDeps, map: RoutingMap, shard: number): Promise<string[]> {
	if ((await fencedOf(deps.clusters, map, shard)).length === 0) return [];
	// Null: whoever has fenced it is alive.
	return (
		(await withShardLock(deps, shard, { kind: "lift", run: "lift" }, (lock) => liftUnder(deps.clusters, lock))) ?? []
	);
}

/** Looked up again: on the epoch that is ours now, nobody else sets or switches anything. */
async function liftUnder(clusters: Clusters, lock: ShardLock): Promise<string[]> {
	const fenced = await fencedOf(clusters, lock.map, lock.shard);
	for (const target of fenced) {
		lock.mustHold();
		await liftFence(clusters, target).catch(unlessMoved);
		if (target.tier === "moving") await lock.setPlace(target.collection, { tier: "service", uuid: target.uuid });
	}
	return fenced.map(({ database, collection }) => `${database}.${collection}`);
}

/** Collections of the service tier that reject writes. One that the map has switched is fenced for good. */
async function fencedOf(clusters: Clusters, map: RoutingMap, shard: number) {
	const { cluster, collections } = shardPlace(map, shard);
	const database = shardDatabase(shard);
	const found = await listCollections(clusters.at(cluster), database);
	return found.filter(isFenced).flatMap(({ name }): Target[] => {
		const place = collections[name];
		if (place === undefined) return [];
		const { tier, uuid } = place;
		return tier === "service" || tier === "moving" ? [{ cluster, database, collection: name, uuid, tier }] : [];
	});
}

function unlessMoved(error: unknown): void {
	if ((error as { code?: unknown }).code !== MOVED) throw error;
}
