import type { RoutingMap } from "../../contracts/routing.ts";
import { awayOf, monthOfCollection, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardPlace, shardTarget } from "../../domain/routing/routing.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { dropCollection } from "../../stores/mongo/collections.ts";
import { mustStand } from "../../stores/mongo/commands.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type DutyDeps, type HeldDuty, underDuty } from "../lock/shard-lock.ts";

/** Sources of archived months, renamed away: dropped when they were found equal to their copy, and the grace time is over. */

interface Kept {
	shard: number;
	/** Name of the month in the map. */
	name: string;
	uuid: string;
}

/** Drops what is due, and tells the names. A shard that is busy comes the next time. */
export async function dropAway(deps: DutyDeps, graceMs: number): Promise<{ dropped: string[]; errors: unknown[] }> {
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
		Object.entries(collections).flatMap(([name, { away }]): Kept[] => {
			const isDue = away?.settled === true && Date.parse(away.since) <= beforeMs;
			return isDue ? [{ shard, name, uuid: away.uuid }] : [];
		}),
	);
}

async function dropOfShard(deps: DutyDeps, shard: number, kept: Kept[]): Promise<string[]> {
	const dropped: string[] = [];
	await underDuty(deps, shard, { kind: "drop", run: "away" }, async (duty) => {
		for (const one of kept) if (await dropOne(deps, duty, one)) dropped.push(one.name);
	});
	return dropped;
}

async function dropOne({ clusters }: DutyDeps, duty: HeldDuty, { name, uuid }: Kept): Promise<boolean> {
	const place = duty.place(name);
	// Another was here between the look and the duty.
	if (place?.away?.uuid !== uuid || !place.away.settled) return false;
	const cluster = clusters.at(place.away.cluster ?? shardPlace(duty.map, duty.shard).cluster);
	await mustBeArchived(clusters, duty, name);
	duty.mustHold();
	await dropCollection(cluster, shardDatabase(duty.shard), awayOf(monthOfCollection(name) ?? ""), uuid);
	const { away: _, ...rest } = place;
	await duty.setPlace(name, rest);
	return true;
}

/** From then on the copy is all there is of the month: a server that was replaced or restored must not cost both. @throws if it is not there. */
async function mustBeArchived(clusters: Clusters, { map, shard }: HeldDuty, name: string): Promise<void> {
	const target = shardTarget(map, shard, name);
	if (target === null) throw new Error(`${name} of shard ${shard} is being dropped; its source is kept`);
	await mustStand(clusters, target, awayOf(monthOfCollection(name) ?? ""));
}
