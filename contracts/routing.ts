/** The routing map: small, versioned, held in memory by every process. */

/** Of the document that it is. */
export const MAP_ID = "routing-map";

/** Where the rows of one collection are now. `moving`: still at the source, and a copy of it is being made. */
export const TIERS = ["service", "moving", "archive", "dropped"] as const;
export type Tier = (typeof TIERS)[number];

/** One collection: its tier and the UUID (hex) that every hot-path command carries. */
export interface CollectionPlace {
	tier: Tier;
	uuid: string;
	/** Of an archived month: its archive cluster. Everything else lies with its shard. */
	cluster?: string;
	/** The source of an archived month, renamed away and kept for a while. */
	retained?: RetainedSource;
}

export interface RetainedSource {
	uuid: string;
	/** Where it is, if its shard has moved since; else with its shard. */
	cluster?: string;
	/** When the map was switched, ISO. */
	since: string;
	/** True once it was found equal to its copy with nobody writing to it any more: only then may it be dropped. */
	settled: boolean;
}

/** What one process at a time may do with a shard. */
export const LOCK_KINDS = ["archive", "drop", "erase", "lift", "move"] as const;
export type LockKind = (typeof LOCK_KINDS)[number];

/** Who is doing what with a shard; whoever takes over raises the epoch, and every change of the map is made on the holder's own. */
export interface LockRecord {
	kind: LockKind;
	epoch: number;
	/** The run that it serves. */
	run: string;
	holder: string;
	since: string;
}

/** One logical shard: the cluster it lives on and the collections it holds, by name. */
export interface ShardPlace {
	cluster: string;
	collections: Record<string, CollectionPlace>;
	/** The highest epoch given so far; none is 0. */
	epoch?: number;
	lock?: LockRecord;
	/** What stands where the shard was before, renamed and kept for a while. */
	retained?: RetainedShard[];
}

/** The collections of a shard that has moved, on the cluster that it has left: `retained_move_e5_users`. */
export interface RetainedShard {
	cluster: string;
	/** Of the move. */
	epoch: number;
	/** When the map was switched, ISO. */
	since: string;
	/** True once all were renamed and nothing was written to them behind the last look: only then may they be dropped. */
	settled: boolean;
}

/** What a cluster holds beside its shards (ledger days, …), by collection name. */
export interface ClusterPlace {
	collections: Record<string, CollectionPlace>;
	/** Where it is, of one that was added at run time; may hold a password. The environment says it of the others. */
	uri?: string;
	/** Stands in the cluster itself, too: by it a cluster is known again under another address. */
	member?: string;
	addedAt?: string;
	by?: string;
	/** Since when nothing new is put there, ISO: it leaves the map as soon as it is empty. */
	retiring?: string;
	/** Who asked for that. */
	retiringBy?: string;
}

export interface RoutingMap {
	/** Grows by one with each change; a change is a compare-and-set on it. */
	version: number;
	changedAt: string;
	/** Index = logical shard. Its length is fixed when the system is first set up. */
	shards: ShardPlace[];
	clusters: Record<string, ClusterPlace>;
	/** Clusters that are none any more, though an environment may still name them; the moment of each, ISO. */
	retired?: Record<string, string>;
}
