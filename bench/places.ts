import type { RoutingMap } from "../contracts/routing.ts";
import { alarmsOf } from "../domain/routing/collection-catalog.ts";
import { shardTarget } from "../domain/routing/routing.ts";
import { monthOf } from "../domain/time/periods.ts";
import type { Lab } from "./lab.ts";

/** Where the alarms of a shard lie in this month, in terms that a bare client understands. Index = shard. */
export interface Place {
	uri: string;
	database: string;
	collection: string;
}

export function placesOf(lab: Lab): Place[] {
	return lab.map.shards.map((_, shard) => placeOf(lab, lab.map, shard));
}

function placeOf({ config }: Lab, map: RoutingMap, shard: number): Place {
	const target = shardTarget(map, shard, alarmsOf(monthOf(Date.now())));
	const address = config.serviceClusters.find(({ name }) => name === target?.cluster);
	if (target === null || address === undefined) throw new Error(`shard ${shard} has no place this month`);
	return { uri: address.uri, database: target.database, collection: target.collection };
}
