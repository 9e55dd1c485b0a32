/** Runs of the archive mover, as operators see them. */

export const RUN_KINDS = ["archive", "drop", "erase"] as const;
export type RunKind = (typeof RUN_KINDS)[number];

/** `waiting`: something that passes is in the way (`reason`), and it is tried again by itself. `refused`: somebody has to look. */
export const RUN_STATES = ["planned", "running", "waiting", "done", "refused"] as const;
export type RunState = (typeof RUN_STATES)[number];

export interface RunReason {
	/** Stable, like `COPY_DIFFERS`. */
	code: string;
	message: string;
}

/** One piece of work on one shard: a month to archive or to drop, or a customer to erase. */
export interface Run {
	/** `archive-s07-2026_08`, `drop-s07-2025_11`: the same work has the same id. `erase-…` is random. */
	id: string;
	kind: RunKind;
	shard: number;
	/** Like `2026_08`; null of an erase. */
	month: string | null;
	state: RunState;
	/** The step it is in, or was in at its end. */
	step: string | null;
	rows: { done: number; total: number };
	/** Of an erase: rows removed so far, by kind of collection. */
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
}
