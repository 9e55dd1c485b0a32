import type { Outcome } from "./alarm.ts";

/** What a reconciliation of the ledger with the slots has found. JSON only. */

/** All of a kind are counted, the first are kept. */
export interface Counted<T> {
	count: number;
	kept: T[];
}

/** A run of one process's batch numbers, both ends included. */
export interface NumberRun {
	epoch: string;
	numbers: [from: number, to: number];
}

/** Batches, and ids of batches that have a ledger row. */
export interface BatchesAndIds {
	batches: number;
	ids: number;
}

export interface AuditReport {
	/** First and last ledger day whose batches were looked up, as 2026-11-22. */
	from: string;
	to: string;
	/** Everything accepted before this moment had to have its slot; null when no worker has ever said so. */
	lowWatermark: string | null;
	batches: number;
	ids: number;
	/** Ids that stood in these batches and were taken out when their customer was erased; not among `ids`. */
	erased: number;
	/** What the slots of the ids say. */
	slots: { stored: number } & Record<Outcome, number>;
	/** May still be on their way: not judged. */
	pending: BatchesAndIds;
	/** Not judged, because a cluster did not answer or the place is none that this check reads; `unknown` says why. */
	unjudged: BatchesAndIds;
	/** Answered 202 to their callers, and no worker has ever stored them. */
	lostBatches: Counted<NumberRun>;
	/** Numbers of which nobody knows whether they were promised: their process died before it could say. */
	unaccounted: Counted<NumberRun>;
	/** Ids of stored batches that have no slot. */
	missing: Counted<string>;
	/** Ids with more than one slot. */
	doubled: Counted<{ id: string; places: string[] }>;
	/** Ids whose only slot is where no reader looks. */
	misplaced: Counted<{ id: string; place: string }>;
	/** Ids that stand in two batches. */
	doubledBatches: Counted<{ id: string; batches: string[] }>;
	/** What is wrong, a few words each; empty is what everybody wants. */
	wrong: string[];
	/** Why the check could not say everything, a few words each. */
	unknown: string[];
}

export interface AuditProgress {
	/** accounts -> waiting for the low-watermark -> rows and their slots -> ids that seem missing, or to stand in two batches. */
	phase: "accounts" | "waiting" | "rows" | "again";
	/** From 0 to 1, of this phase. */
	part: number;
	words: string;
}

/** The current or the last run of one router. */
export interface AuditState {
	/** The router that answers: each keeps its own runs. */
	node: string;
	running: boolean;
	startedAt: string | null;
	endedAt: string | null;
	progress: AuditProgress | null;
	report: AuditReport | null;
	/** Why the last run ended without a report. */
	error: string | null;
}
