import type { Tier } from "./routing.ts";

/** Runs of the archive mover, as operators see them. */

export const RUN_KINDS = ["archive", "drop", "erase", "move"] as const;
export type RunKind = (typeof RUN_KINDS)[number];

/**
 * `waiting`: something that passes is in the way (`reason`), and it is tried again by itself. `stopped`: by an operator; goes on when one
 * asks for it. `refused`: somebody has to look. `canceled`: a move that an operator gave up; its copies are gone.
 */
export const RUN_STATES = ["planned", "running", "waiting", "stopped", "done", "refused", "canceled"] as const;
export type RunState = (typeof RUN_STATES)[number];

export interface RunReason {
	/** Stable, like `COPY_DIFFERS`. */
	code: string;
	message: string;
}

/** One piece of work on one shard: a month to archive or to drop, a customer to erase, or the whole shard to move. */
export interface Run {
	/** `archive-s07-2026_08`, `drop-s07-2025_11`, `move-s07-c4`: the same work has the same id. `erase-…` is random. */
	id: string;
	kind: RunKind;
	shard: number;
	/** Like `2026_08`; null of an erase or a move. */
	month: string | null;
	/** Of a move: the cluster that the shard moves to. */
	to: string | null;
	state: RunState;
	/** The last step that is behind it. */
	step: string | null;
	/** `done` are copied; `verified` are those of the comparison that is under way, or was the last. */
	rows: { done: number; total: number; verified?: number };
	/** Of an erase: rows removed so far, by kind of collection. Whose they were is on record until it is done, and never told. */
	removed: Record<string, number> | null;
	/** ISO. */
	startedAt: string | null;
	updatedAt: string;
	endedAt: string | null;
	reason: RunReason | null;
	/** The process that works on it, or did last. */
	node: string | null;
	/** Name of the operator's credential, or `schedule`. */
	askedBy: string;
	/** Since when it makes no progress, ISO. */
	waitingSince?: string;
	/** Rows per second that whoever asked for it allows; without it, ARCHIVE_ROWS_PER_SECOND, or MOVE_ROWS_PER_SECOND. */
	rate?: number;
	/** Rows gone through per second, lately. */
	perSecond?: number;
	/** Rows compared so far, once all are copied. */
	compared?: number;
	/** What an earlier try has copied is thrown away. */
	fresh?: boolean;
	/** Of a move: it is being given up, and its copies are dropped. */
	canceling?: boolean;
}

/** One month of one shard that is due. */
export interface DueMonth {
	kind: "archive" | "drop";
	shard: number;
	month: string;
}

/** Months that would be due and are left where they are, or that were asked for and are not due. */
export interface KeptMonth {
	month: string;
	shards: number[];
	reason: RunReason;
}

/** What the mover would do now: a dry run. */
export interface ArchivePlan {
	/** The planning clock. */
	at: string;
	/** A lower bound: the newest alarm of a sample. */
	newestStored: string | null;
	lowWatermark: string | null;
	/** In the order of work: the oldest month first. Empty when the plan is refused. */
	due: DueMonth[];
	kept: KeptMonth[];
	/** Why nothing at all is done. */
	refused: RunReason | null;
}

/** What an operator may ask for; nothing named is all that is due. */
export interface ArchiveRequest {
	/** Like `2026_08`. */
	month?: string;
	shard?: number;
	/** Rows per second, of each run that this begins. */
	rate?: number;
	/** The number of months that the plan would drop: the operator has seen it. */
	confirmDrops?: number;
	/** The clock is right although it does not fit what is stored. */
	trustClock?: boolean;
	/** Throw away what an earlier try has copied; also takes up a run that was refused. */
	fresh?: boolean;
}

export interface RunAnswer {
	/** Runs that are planned or under way now because of this request. */
	begun: Run[];
	/** Runs of the plan that this request does not set going; `reason` says why. */
	skipped: Run[];
	plan: ArchivePlan;
}

/** One month over all shards. Null where not every cluster has told it. */
export interface MonthState {
	month: string;
	/** Shards by tier. */
	shards: Record<Tier, number>;
	rows: number | null;
	/** On disk. */
	bytes: number | null;
}

export interface ArchiveState {
	at: string;
	/** The mover that answers; `nextLook` and `lastLook` are its own. */
	node: string;
	months: MonthState[];
	/** Not ended, with the stopped ones, in the order of work. Null: the meta database does not answer. */
	open: Run[] | null;
	/** The last that ended, newest first. */
	ended: Run[] | null;
	lastLook: { at: string; refused: RunReason | null; kept: KeptMonth[] } | null;
	/** Null: only when it is asked. */
	nextLook: string | null;
	/** Clusters that did not answer. */
	unavailable: string[];
}

export interface RunQuery {
	state?: RunState;
	kind?: RunKind;
	limit?: number;
}

export interface RunList {
	/** Last changed first. */
	runs: Run[];
}
