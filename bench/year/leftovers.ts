import type { RoutingMap } from "../../contracts/routing.ts";
import { archiveDatabase, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardPlace } from "../../domain/routing/routing.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";

/** Collections of alarms, renamed sources and copies that the map does not know, by cluster, database and name. */
export async function leftovers(clusters: Clusters, map: RoutingMap): Promise<string[]> {
	const found = await Promise.all(map.shards.map((_, shard) => strangersOf(clusters, map, shard)));
	return found.flat();
}

async function strangersOf(clusters: Clusters, map: RoutingMap, shard: number): Promise<string[]> {
	const { cluster, collections } = shardPlace(map, shard);
	const places = Object.entries(collections);
	const known = new Set(
		places.map(([name, { tier, cluster: archive }]) =>
			tier === "archive"
				? `${archive}/${archiveDatabase(shard)}.${name}`
				: `${cluster}/${shardDatabase(shard)}.${name}`,
		),
	);
	const there = [
		...(await namesIn(clusters, cluster, shardDatabase(shard))),
		...(
			await Promise.all([...clusters.archive.keys()].map((name) => namesIn(clusters, name, archiveDatabase(shard))))
		).flat(),
	];
	return there.filter((one) => !known.has(one));
}

async function namesIn(clusters: Clusters, cluster: string, database: string): Promise<string[]> {
	const command = { listCollections: 1, nameOnly: true, cursor: { batchSize: 1_000 } };
	const reply = await clusters.at(cluster).read(database, command);
	const names = (reply.cursor.firstBatch as { name: string }[]).map(({ name }) => name);
	return names.filter((name) => /^(alarms|away|copy)_/.test(name)).map((name) => `${cluster}/${database}.${name}`);
}
