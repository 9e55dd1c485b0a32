import type { RoutingMap } from "../../contracts/routing.ts";
import type { ShardSize } from "../../domain/jobs/rebalance.ts";
import { copiedNames } from "../../domain/jobs/shard-move.ts";
import { isOpen } from "../../domain/routing/clusters.ts";
import { alarmsOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardPlace } from "../../domain/routing/routing.ts";
import { addMonths, monthOf, monthStartMs } from "../../domain/time/periods.ts";
import { answerWithin } from "../../lib/timeout.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";

/** How much each shard holds, and how fast it grows. */

/** Of one cluster: an operator waits for this. */
const CLUSTER_MS = 3_000;

/** By shard; none of a cluster that does not answer, which is named instead, also where no shard is yet: none should be moved there. */
export async function shardSizes(
	clusters: Clusters,
	map: RoutingMap,
	nowMs: number,
): Promise<{ sizes: Map<number, ShardSize>; unavailable: string[] }> {
	const homes = Map.groupBy(map.shards.keys(), (shard) => shardPlace(map, shard).cluster);
	const names = new Set([...homes.keys(), ...Object.keys(map.clusters).filter((name) => isOpen(map, name))]);
	const asked = [...names].map(async (name) => ({
		name,
		found: await answerWithin(
			CLUSTER_MS,
			sizesOn(() => clusters.at(name), map, homes.get(name) ?? [], nowMs),
		),
	}));
	const told = await Promise.all(asked);
	return {
		sizes: new Map(told.flatMap(({ found }) => found ?? [])),
		unavailable: told.filter(({ found }) => found === null).map(({ name }) => name),
	};
}

/** One command at a time: nobody who reads is to feel it. */
async function sizesOn(clusterOf: () => Cluster, map: RoutingMap, shards: number[], nowMs: number) {
	const cluster = clusterOf();
	// Where nothing is to be asked for, it is asked for the time: that it answers is what counts.
	if (shards.length === 0) await cluster.askClock();
	const sizes: [number, ShardSize][] = [];
	for (const shard of shards) sizes.push([shard, await sizeOf(cluster, map, shard, nowMs)]);
	return sizes;
}

async function sizeOf(cluster: Cluster, map: RoutingMap, shard: number, nowMs: number): Promise<ShardSize> {
	const before = addMonths(monthOf(nowMs), -1);
	const recent = [alarmsOf(before), alarmsOf(monthOf(nowMs))];
	let [rows, bytes, fresh] = [0, 0, 0];
	for (const name of copiedNames(shardPlace(map, shard))) {
		const stats = await cluster.read(shardDatabase(shard), { collStats: name });
		rows += Number(stats.count);
		bytes += Number(stats.size);
		if (recent.includes(name)) fresh += Number(stats.count);
	}
	return { rows, bytes, perSecond: (fresh * 1_000) / Math.max(nowMs - monthStartMs(before), 1) };
}
