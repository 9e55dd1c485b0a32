/** Service clusters that come and go at run time. */

/** A name in the routing map, as in MONGO_SERVICE_URIS. */
export const CLUSTER_NAME = /^[a-z][a-z0-9-]{0,15}$/;

export interface ClusterRequest {
	name: string;
	/** May hold a password: never shown, never logged. */
	uri: string;
}

export interface ClusterAddition {
	name: string;
	/** Without user and password. */
	address: string;
	/** `known`: it was there already; `readdressed`: it has another address now; `returned`: it is no longer being retired. */
	state: "added" | "known" | "readdressed" | "returned";
	mapVersion: number;
}

export interface ClusterRetirement {
	name: string;
	/** `retiring`: nothing new is put there; the router takes it out of the map by itself as soon as nothing is in the way. */
	state: "retiring" | "retired";
	/** What is still there, and until when. */
	blockers: string[];
	mapVersion: number;
}

export interface ClusterState {
	name: string;
	/** Without user and password. */
	address: string;
	/** Where its address comes from. */
	from: "environment" | "map";
	answers: boolean;
	shards: number[];
	/** Of its shards: rows, and bytes on disk; null while it does not answer. */
	rows: number | null;
	bytes: number | null;
	/** Accepted batches that wait for the queue; null while it does not answer. */
	outbox: number | null;
	/** Days of the ledger that hold rows. */
	ledgerDays: string[] | null;
	/** Since when it is being retired. */
	retiring?: string;
	blockers?: string[];
}

export interface ClusterList {
	clusters: ClusterState[];
	/** Names of those that were retired, with the moment. */
	retired: Record<string, string>;
	mapVersion: number;
}
