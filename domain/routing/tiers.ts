import { type RoutingMap, TIERS, type Tier } from "../../contracts/routing.ts";
import type { Month } from "../time/periods.ts";
import { monthOfCollection } from "./collection-catalog.ts";

/** In how many shards each month lies in which tier, newest first. */
export function shardsByTier(map: RoutingMap): Map<Month, Record<Tier, number>> {
	const places = map.shards.flatMap(({ collections }) => Object.entries(collections));
	const found = places.flatMap(([name, { tier }]) => {
		const month = monthOfCollection(name);
		return month === null ? [] : [{ month, tier }];
	});
	const months = Map.groupBy(found, ({ month }) => month);
	const counted = [...months].map(([month, some]) => [month, countsOf(some.map(({ tier }) => tier))] as const);
	return new Map(counted.sort(([one], [other]) => (one < other ? 1 : -1)));
}

function countsOf(tiers: Tier[]): Record<Tier, number> {
	const counts = TIERS.map((tier) => [tier, tiers.filter((one) => one === tier).length]);
	return Object.fromEntries(counts) as Record<Tier, number>;
}

/** Collections of alarms in each tier, over all months and shards. */
export function collectionsByTier(map: RoutingMap): Record<Tier, number> {
	const all = [...shardsByTier(map).values()];
	const counts = TIERS.map((tier) => [tier, all.reduce((sum, shards) => sum + shards[tier], 0)]);
	return Object.fromEntries(counts) as Record<Tier, number>;
}
