import type { Run, RunKind, RunState } from "../../contracts/archive.ts";
import type { RunChange } from "../../domain/jobs/runs.ts";

/** Whom an erase is about: on record until it is done, and apart from what is told of runs. */
export interface Customer {
	userId: string;
	/** What was accepted before goes. */
	startedAtMs: number;
}

/** The record of runs, as the mover needs it. Every change says what the run has to be like: several movers write. */
export interface RunStore {
	/** False: there is one of this id. @throws {Fault} UNAVAILABLE, as all of these. */
	add(run: Run, customer?: Customer): Promise<boolean>;
	get(id: string): Promise<Run | null>;
	/** Null once the erase is done. */
	customerOf(id: string): Promise<Customer | null>;
	/** The erases of a customer that were stopped. */
	stoppedOf(userId: string): Promise<Run[]>;
	/** Last changed first. */
	list(filter: RunFilter): Promise<Run[]>;
	/** False: the run is not (any more) in one of these states, or at this node. */
	change(id: string, expected: RunExpected, change: RunChange & CustomerChange): Promise<boolean>;
	/** Tells how many there were. */
	removeEndedBefore(moment: string): Promise<number>;
	countByState(): Promise<Record<RunState, number>>;
}

/** Undefined takes it out. */
export interface CustomerChange {
	customer?: Customer | undefined;
}

interface RunFilter {
	states?: readonly RunState[];
	kind?: RunKind;
	limit: number;
}

export interface RunExpected {
	states: readonly RunState[];
	node?: string;
	/** Whether it is being given up. */
	isCanceling?: boolean;
}
