import type { Document } from "mongodb";
import { CLUSTER_CATALOG, CLUSTER_DATABASE, catalogEntryOf } from "../../domain/routing/collection-catalog.ts";
import type { Cluster } from "../mongo/cluster.ts";
import { listCollections, uuidBinary } from "../mongo/collections.ts";
import { MAJORITY } from "../mongo/write-concern.ts";

/** A collection that a cluster holds beside its shards. */
export interface ClusterCollection {
	name: string;
	uuid: string;
}

const FENCED_KINDS = new Set<string>([CLUSTER_CATALOG.outbox.kind, CLUSTER_CATALOG.ledger.kind]);

/** All of a cluster's collections that are in the list of holdings. */
export async function clusterCollections(cluster: Cluster): Promise<ClusterCollection[]> {
	const found = await listCollections(cluster, CLUSTER_DATABASE);
	return found.filter(({ name }) => catalogEntryOf(CLUSTER_CATALOG, name) !== null);
}

/** From here on the cluster itself rejects accepted batches and ledger rows, whatever map their sender has; the sender takes another one. */
export async function setClusterFence(cluster: Cluster): Promise<void> {
	await setValidators(cluster, { $expr: false });
}

export async function liftClusterFence(cluster: Cluster): Promise<void> {
	await setValidators(cluster, {});
}

async function setValidators(cluster: Cluster, validator: Document): Promise<void> {
	for (const { name, uuid } of await clusterCollections(cluster)) {
		if (!FENCED_KINDS.has(catalogEntryOf(CLUSTER_CATALOG, name)?.kind ?? "")) continue;
		const guard = { collectionUUID: uuidBinary(uuid), writeConcern: MAJORITY };
		await cluster.command(CLUSTER_DATABASE, { collMod: name, validator, ...guard });
	}
}
