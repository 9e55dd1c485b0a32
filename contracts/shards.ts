import type { Run } from "./archive.ts";
import type { LockRecord, RetainedShard } from "./routing.ts";

/** Shards and their moves, as operators see them. */

export interface ShardKey {
	shard: number;
}

/** A whole shard to another cluster. */
export interface ShardMoveRequest extends ShardKey {
	to: string;
	/** Rows per second; without it, MOVE_ROWS_PER_SECOND. */
	rate?: number;
	/** Throw away what an earlier try has copied; also takes up a move that was refused. */
	fresh?: boolean;
}

export interface ShardResumeRequest extends ShardKey {
	rate?: number;
}

/** One shard: where it is, how much it holds, and who is at work on it. */
export interface ShardState {
	shard: number;
	cluster: string;
	/** Of what moves with it; null where its cluster does not answer. */
	rows: number | null;
	/** Of the documents, not compressed. */
	bytes: number | null;
	/** Alarms per second, on the average of this month and the one before. */
	perSecond: number | null;
	lock: LockRecord | null;
	/** What stands where it was before, until its time of grace is over. */
	retained: RetainedShard[];
	/** The move that is not over, with the time left where it can be told. */
	move: (Run & { leftMs: number | null }) | null;
}

export interface ShardsState {
	at: string;
	mapVersion: number;
	clusters: { name: string; shards: number; rows: number | null; bytes: number | null; isRetiring: boolean }[];
	shards: ShardState[];
	/** Clusters that did not answer; `runs`: the record of moves. */
	unavailable: string[];
}

export interface PlannedMove {
	shard: number;
	from: string;
	to: string;
}

/** What a cluster carries of the whole. */
export interface ClusterLoad {
	shards: number;
	bytes: number;
	perSecond: number;
	/** The larger of its shares of size and of rate, by an even share: 1 is even. */
	load: number;
}

/** The fewest moves that even the load. */
export interface RebalancePlan {
	/** Of these very moves: whoever confirms it has seen them. Null: nothing to do. */
	id: string | null;
	moves: PlannedMove[];
	clusters: { name: string; isRetiring: boolean; before: ClusterLoad; after: ClusterLoad }[];
	/** Moves that are not over; the plan takes them for done. */
	underWay: string[];
}

export interface RebalanceRequest {
	/** The id of the plan. */
	confirm: string;
	rate?: number;
}

export interface MovesBegun {
	begun: Run[];
	/** Moves of the plan that could not be begun, and why. */
	skipped: (PlannedMove & { why: string })[];
	plan: RebalancePlan;
}

export const CHANGE_KINDS = [
	"set up",
	"collections",
	"duty",
	"archived",
	"dropped",
	"moved",
	"settled",
	"cluster",
	"unknown",
] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/** One change of the routing map: who, when, what. */
export interface MapChangeRow {
	version: number;
	/** ISO; null of one whose writer ended before it could tell. */
	at: string | null;
	/** The process; for an operator's wish look at the run. */
	by: string | null;
	run: string | null;
	kind: ChangeKind;
	what: string;
	shards: number[];
}

export interface HistoryQuery {
	shard?: number;
	/** Without the duties that were given and taken back. */
	kind?: ChangeKind;
	limit?: number;
	/** Versions below this one. */
	before?: number;
}

export interface MapHistory {
	/** Newest first. */
	changes: MapChangeRow[];
}
