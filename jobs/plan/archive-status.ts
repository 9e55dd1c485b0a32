import type { MonthState } from "../../contracts/archive.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { alarmsOf } from "../../domain/routing/collection-catalog.ts";
import { monthsPresent, shardTarget, type Target } from "../../domain/routing/routing.ts";
import { shardsByTier } from "../../domain/routing/tiers.ts";
import { answerWithin } from "../../lib/timeout.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";

/** How large each month is and where it lies. */

/** Of one cluster: an operator waits for this. */
const CLUSTER_MS = 2_000;

interface Size {
	rows: number;
	bytes: number;
}

/** Newest first, with the clusters that did not answer. */
export async function monthStates(
	clusters: Clusters,
	map: RoutingMap,
): Promise<{ months: MonthState[]; unavailable: string[] }> {
	const targets = targetsOf(map);
	const asked = [...Map.groupBy(targets, ({ cluster }) => cluster)].map(async ([name, some]) => ({
		name,
		sizes: await answerWithin(CLUSTER_MS, sizesOf(clusters, some)),
	}));
	const told = await Promise.all(asked);
	const sizes = new Map(told.flatMap((one) => [...(one.sizes ?? [])]));
	const months = [...shardsByTier(map)].map(([month, shards]) => {
		const known = targets.filter(({ collection }) => collection === alarmsOf(month)).map((one) => sizes.get(one));
		return { month, shards, rows: sumOf(known, "rows"), bytes: sumOf(known, "bytes") };
	});
	return { months, unavailable: told.filter((one) => one.sizes === null).map(({ name }) => name) };
}

function targetsOf(map: RoutingMap): Target[] {
	return map.shards.flatMap((_, shard) =>
		monthsPresent(map, shard).flatMap((month) => shardTarget(map, shard, alarmsOf(month)) ?? []),
	);
}

/** One command at a time: nobody who reads is to feel it. */
async function sizesOf(clusters: Clusters, targets: Target[]): Promise<Map<Target, Size>> {
	const sizes = new Map<Target, Size>();
	for (const target of targets) {
		const stats = await clusters.at(target.cluster).read(target.database, { collStats: target.collection });
		sizes.set(target, { rows: Number(stats.count), bytes: Number(stats.storageSize) });
	}
	return sizes;
}

function sumOf(sizes: (Size | undefined)[], of: keyof Size): number | null {
	return sizes.reduce<number | null>((sum, size) => (sum === null || size === undefined ? null : sum + size[of]), 0);
}
