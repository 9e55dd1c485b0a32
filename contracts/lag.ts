import type { Lane } from "./alarm.ts";

/** How late alarms are and what waits where, as operators see it. Null is what could not be found out. */

/** Delays from acceptance to the slot, counted in the fixed buckets of domain/time/delay-histogram.ts; the last has no upper bound. */
export interface DelayCounts {
	/** The first of them was counted at this moment or later. */
	since: string;
	counts: number[];
	sumMs: number;
	maxMs: number;
}

/** Null where nothing was stored. */
export interface DelaySummary {
	since: string;
	count: number;
	p50Ms: number | null;
	p99Ms: number | null;
	maxMs: number | null;
}

/** One lane: what waits for a worker, what is parked because its shard cannot take it, and how late the last minutes' alarms were. */
export interface LaneLag {
	batches: number | null;
	parkedBatches: number | null;
	/** Of all that the lane still holds, parked or not. */
	oldestAgeMs: number | null;
	delay: DelaySummary;
}

export interface ParkedBatches {
	lane: Lane;
	shard: number;
	batches: number;
}

export type OutboxLag =
	| { cluster: string; batches: number; bytes: number; oldestAgeMs: number | null }
	| { cluster: string; unavailable: true };

export interface Lag {
	at: string;
	lanes: Record<Lane, LaneLag>;
	parked: ParkedBatches[];
	outbox: OutboxLag[];
	lowWatermark: string | null;
	/** Of the oldest alarm known to be on its way; 0 when nothing is. With parts unavailable there may be an older one. */
	oldestPendingAgeMs: number | null;
	/** Worker nodes whose delays are in the answer. */
	workers: string[];
	/** What did not answer in time: `queue`, `outbox <cluster>`, `low-watermark`, `worker <node>`, or `workers` when none is known. */
	unavailable: string[];
}
