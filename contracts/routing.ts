/** The routing map: small, versioned, held in memory by every process. */

/** Where the rows of one collection are now. */
export type Tier = "service" | "moving" | "archive" | "dropped";

/** One collection: its tier and the UUID (hex) that every hot-path command carries. */
export interface CollectionPlace {
	tier: Tier;
	uuid: string;
}

/** One logical shard: the cluster it lives on and the collections it holds, by name. */
export interface ShardPlace {
	cluster: string;
	collections: Record<string, CollectionPlace>;
}

/** What a cluster holds beside its shards (ledger days, …), by collection name. */
export interface ClusterPlace {
	collections: Record<string, CollectionPlace>;
}

export interface RoutingMap {
	/** Grows by one with each change; a change is a compare-and-set on it. */
	version: number;
	changedAt: string;
	/** Index = logical shard. Its length is fixed when the system is first set up. */
	shards: ShardPlace[];
	clusters: Record<string, ClusterPlace>;
}
