import { connect } from "nats";
import type { Config } from "../config.ts";
import { LANES } from "../contracts/alarm.ts";
import { adoptAddresses } from "../stores/clusters/add-cluster.ts";
import { Clusters } from "../stores/mongo/clusters.ts";
import { ensureCollections, ensureMap, ensureShardIndexes } from "../stores/routing/provision.ts";
import { natsAddress } from "../streams/address.ts";
import { ensureLane, laneSize } from "../streams/lanes.ts";
import { setUpCredentials } from "./credentials.ts";

/**
 * Sets the system up: the map with its number of shards, months, streams, and (into `credentialsFile`, if given) first credentials.
 * Can run any number of times.
 */
export async function setUp(config: Config, credentialsFile: string | undefined): Promise<void> {
	const clusters = new Clusters(config);
	try {
		await adoptAddresses(clusters, Date.now);
		const map = await ensureMap(clusters, config.logicalShards, new Date());
		const made = await ensureCollections(clusters, map, new Date());
		const errors = [...made.errors, ...(await ensureShardIndexes(clusters, made.map))];
		if (errors.length > 0) throw errors[0];
		await setUpLanes(config);
		if (credentialsFile !== undefined) await setUpCredentials(clusters, credentialsFile);
	} finally {
		await clusters.close();
	}
}

async function setUpLanes(config: Config): Promise<void> {
	const connection = await connect({ ...natsAddress(config.natsUrl), timeout: 5_000 });
	try {
		const manager = await connection.jetstreamManager();
		const size = laneSize(config);
		for (const lane of LANES) await ensureLane(manager, lane, size);
	} finally {
		await connection.close();
	}
}
