import type { Lane } from "./alarm.ts";
import type { FailureCode } from "./errors.ts";

/** Accepted alarms that could not be stored: looked up, sent again, or given up. JSON only; a moment is an ISO string in UTC. */

/** Which failures are meant. `from` and `to` (both inclusive) are moments of failing. */
export interface FailureFilter {
	producer?: string;
	code?: FailureCode;
	userId?: string;
	from?: string;
	to?: string;
}

export interface FailureQuery extends FailureFilter {
	limit?: number;
	cursor?: string;
	/** True: discarded ones, too. */
	discarded?: boolean;
}

/** One failure without its content: title, body and data are the customer's. */
export interface Failure {
	id: string;
	code: FailureCode;
	message: string;
	/** Missing, like `userId` and `category`, where the item could not be read. */
	producer?: string;
	userId?: string;
	category?: string;
	lane: Lane;
	acceptedAt: string;
	/** Of the last time: a redrive that fails again moves it. */
	failedAt: string;
	discarded?: Discard;
}

/** Who gave a failure up, why and when. */
export interface Discard {
	by: string;
	why: string;
	at: string;
}

/** Newest first. */
export interface FailurePage {
	items: Failure[];
	/** Opaque. Null at the end. */
	nextCursor: string | null;
	/** Clusters that did not answer: what lies there is missing from the items. */
	unavailable?: string[];
}

export interface FailureExport {
	/** UTF-8 with a byte order mark, for spreadsheets. */
	csv: string;
	nextCursor: string | null;
	unavailable?: string[];
}

/** Either ids, or a filter and how many of its newest at most. */
export interface RedriveRequest {
	ids?: string[];
	filter?: FailureFilter;
	limit?: number;
}

export const REDRIVE_RESULTS = [
	"stored",
	"failed",
	"duplicate",
	"expired",
	"not_failed",
	"unknown",
	"discarded",
	"unavailable",
] as const;
/**
 * What a redrive came to: what the slot is now (stored, failed again, duplicate, expired), or why nothing was done: something else stands
 * in the slot, there is no such failure, it was given up, or its database did not answer (try again; nothing can be doubled).
 */
export type RedriveResult = (typeof REDRIVE_RESULTS)[number];

export interface RedriveItem {
	id: string;
	result: RedriveResult;
	why?: string;
}
export interface RedriveAnswer {
	results: RedriveItem[];
	counts: Record<RedriveResult, number>;
	/** True when some that were meant have not been reached: ask again. */
	more: boolean;
	/** Clusters that did not answer when a filter was looked up. */
	unavailable?: string[];
}

export interface DiscardRequest {
	ids: string[];
	why: string;
}

export const DISCARD_RESULTS = ["discarded", "unknown", "unavailable"] as const;
export type DiscardResult = (typeof DISCARD_RESULTS)[number];
export interface DiscardItem {
	id: string;
	result: DiscardResult;
	/** As it stands: the first discard is kept. */
	discarded?: Discard;
}
export interface DiscardAnswer {
	results: DiscardItem[];
	counts: Record<DiscardResult, number>;
}
