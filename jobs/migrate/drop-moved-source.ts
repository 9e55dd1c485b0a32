import type { RetainedShard } from "../../contracts/routing.ts";
import { withRetained } from "../../domain/jobs/shard-move.ts";
import { movedName, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardTarget } from "../../domain/routing/routing.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { dropCollection, type Listed, listCollections } from "../../stores/mongo/collections.ts";
import { mustStand } from "../../stores/mongo/commands.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type LockDeps, type ShardLock, withShardLock } from "../lock/shard-lock.ts";

/** What shards have left on the clusters that they moved away from, renamed: dropped when the move was settled, and the grace time is over. */

/** Drops what is due, and tells the names. A shard that is busy comes the next time. */
export async function dropRetainedMoves(
	deps: LockDeps,
	graceMs: number,
): Promise<{ dropped: string[]; errors: unknown[] }> {
	const dropped: string[] = [];
	const errors: unknown[] = [];
	const { shards } = await newestMap(deps.clusters);
	for (const [shard, { retained = [] }] of shards.entries()) {
		const isDue = ({ settled, since }: RetainedShard) => settled && Date.parse(since) <= deps.nowMs() - graceMs;
		for (const one of retained.filter(isDue)) {
			await dropOne(deps, shard, one).then(
				(names) => dropped.push(...names),
				(error: unknown) => errors.push(error),
			);
		}
	}
	return { dropped, errors };
}

async function dropOne(deps: LockDeps, shard: number, retained: RetainedShard): Promise<string[]> {
	const dropped = await withShardLock(deps, shard, { kind: "drop", run: "retained moves" }, async (lock) => {
		const cluster = deps.clusters.at(retained.cluster);
		const found = (await collectionsOn(cluster, shard)).filter(({ name }) => isRetainedBy(retained, name));
		for (const { name } of found) await mustHaveMoved(deps, lock, name);
		for (const { name, uuid } of found) {
			lock.mustHold();
			await dropCollection(cluster, shardDatabase(shard), name, uuid);
		}
		const gone = { epoch: retained.epoch, settled: null };
		await lock.changeMap((map) => withRetained(map, shard, lock.epoch, gone, new Date(deps.nowMs())));
		return found.map(({ name }) => `${retained.cluster}/${shardDatabase(shard)}.${name}`);
	});
	return dropped ?? [];
}

/** From then on the new place is all there is: a server that was replaced or restored must not cost both. @throws if it is not there. */
async function mustHaveMoved({ clusters }: LockDeps, { map, shard }: ShardLock, retained: string): Promise<void> {
	const target = shardTarget(map, shard, movedName(retained)?.name ?? "");
	// A day or a month that is over.
	if (target !== null) await mustStand(clusters, target, retained);
}

export function collectionsOn(cluster: Cluster, shard: number): Promise<Listed[]> {
	return listCollections(cluster, shardDatabase(shard));
}

export function isRetainedBy({ epoch }: RetainedShard, name: string): boolean {
	const moved = movedName(name);
	return moved?.kind === "retained_move" && moved.epoch === epoch;
}
