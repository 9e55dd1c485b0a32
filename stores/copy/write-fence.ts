import type { Document } from "mongodb";
import type { Target } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { uuidBinary } from "../mongo/collections.ts";
import { MAJORITY } from "../mongo/write-concern.ts";

/** The database itself rejects inserts and updates of a collection (121), whatever map their sender has. Deletes pass. */

export function setFence(clusters: Clusters, target: Target): Promise<void> {
	return setValidator(clusters, target, { $expr: false });
}

export function liftFence(clusters: Clusters, target: Target): Promise<void> {
	return setValidator(clusters, target, {});
}

async function setValidator(clusters: Clusters, { cluster, database, collection, uuid }: Target, validator: Document) {
	const guard = { collectionUUID: uuidBinary(uuid), writeConcern: MAJORITY };
	await clusters.at(cluster).command(database, { collMod: collection, validator, ...guard });
}
