import type { Month } from "../../domain/time/periods.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { mapSince } from "./months.ts";
import { configOf, startServers, type TestServers } from "./servers.ts";
import { TestShards } from "./shards.ts";

/** Real databases with a map and its collections, and no services: for what is done to shards directly. */
export interface Databases {
	servers: TestServers;
	clusters: Clusters;
	/** Past the stores. */
	shards: TestShards;
	stop(): Promise<void>;
}

/** Two service clusters and an archive; with `metaApart` the meta database has a server of its own, `m0`. */
export async function startDatabases(
	shardCount: number,
	since: Month,
	{ metaApart = false }: { metaApart?: boolean } = {},
): Promise<Databases> {
	const servers = await startServers(["c0", "c1", "a0"], metaApart ? ["m0"] : []);
	if (metaApart) servers.env.MONGO_META_URI = servers.mongods.m0?.uri ?? "";
	const clusters = new Clusters(configOf(servers, { LOGICAL_SHARDS: String(shardCount) }));
	const shards = new TestShards(servers);
	const stop = async () => {
		await clusters.close();
		await shards.close();
		await servers.stop();
	};
	try {
		await mapSince(clusters, since, shardCount);
	} catch (error) {
		await stop();
		throw error;
	}
	return { servers, clusters, shards, stop };
}
