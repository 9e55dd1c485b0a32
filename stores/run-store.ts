import type { Run, RunKind, RunState } from "../contracts/archive.ts";
import type { RunChange } from "../domain/runs.ts";

/** The record of runs, as the mover needs it. Every change says what the run has to be like: several movers write. */
export interface RunStore {
	/** False: there is one of this id. @throws {Fault} UNAVAILABLE, as all of these. */
	add(run: Run): Promise<boolean>;
	get(id: string): Promise<Run | null>;
	/** Last changed first. */
	list(filter: RunFilter): Promise<Run[]>;
	/** False: the run is not (any more) in one of these states, or at this node. */
	change(id: string, expected: RunExpected, change: RunChange): Promise<boolean>;
	/** Tells how many there were. */
	removeEndedBefore(moment: string): Promise<number>;
	countByState(): Promise<Record<RunState, number>>;
}

export interface RunFilter {
	states?: readonly RunState[];
	kind?: RunKind;
	limit: number;
}

export interface RunExpected {
	states: readonly RunState[];
	node?: string;
}
