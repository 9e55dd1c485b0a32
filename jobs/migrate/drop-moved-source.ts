import type { LeftShard } from "../../contracts/routing.ts";
import { withLeft } from "../../domain/jobs/shard-move.ts";
import { movedName, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardTarget } from "../../domain/routing/routing.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { dropCollection, type Listed, listCollections } from "../../stores/mongo/collections.ts";
import { mustStand } from "../../stores/mongo/commands.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type DutyDeps, type HeldDuty, underDuty } from "../lock/shard-lock.ts";

/** What shards have left on the clusters that they moved away from, renamed: dropped when the move was settled, and the grace time is over. */

/** Drops what is due, and tells the names. A shard that is busy comes the next time. */
export async function dropLeft(deps: DutyDeps, graceMs: number): Promise<{ dropped: string[]; errors: unknown[] }> {
	const dropped: string[] = [];
	const errors: unknown[] = [];
	const { shards } = await newestMap(deps.clusters);
	for (const [shard, { left = [] }] of shards.entries()) {
		const isDue = ({ settled, since }: LeftShard) => settled && Date.parse(since) <= deps.nowMs() - graceMs;
		for (const one of left.filter(isDue)) {
			await dropOne(deps, shard, one).then(
				(names) => dropped.push(...names),
				(error: unknown) => errors.push(error),
			);
		}
	}
	return { dropped, errors };
}

async function dropOne(deps: DutyDeps, shard: number, left: LeftShard): Promise<string[]> {
	const dropped = await underDuty(deps, shard, { kind: "drop", run: "left" }, async (duty) => {
		const cluster = deps.clusters.at(left.cluster);
		const found = (await collectionsOn(cluster, shard)).filter(({ name }) => isLeftBy(left, name));
		for (const { name } of found) await mustHaveMoved(deps, duty, name);
		for (const { name, uuid } of found) {
			duty.mustHold();
			await dropCollection(cluster, shardDatabase(shard), name, uuid);
		}
		const gone = { epoch: left.epoch, settled: null };
		await duty.changeMap((map) => withLeft(map, shard, duty.epoch, gone, new Date(deps.nowMs())));
		return found.map(({ name }) => `${left.cluster}/${shardDatabase(shard)}.${name}`);
	});
	return dropped ?? [];
}

/** From then on the new place is all there is: a server that was replaced or restored must not cost both. @throws if it is not there. */
async function mustHaveMoved({ clusters }: DutyDeps, { map, shard }: HeldDuty, left: string): Promise<void> {
	const target = shardTarget(map, shard, movedName(left)?.name ?? "");
	// A day or a month that is over.
	if (target !== null) await mustStand(clusters, target, left);
}

export function collectionsOn(cluster: Cluster, shard: number): Promise<Listed[]> {
	return listCollections(cluster, shardDatabase(shard));
}

export function isLeftBy({ epoch }: LeftShard, name: string): boolean {
	const moved = movedName(name);
	return moved?.kind === "left" && moved.epoch === epoch;
}
