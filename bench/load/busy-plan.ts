/** What an app in use is told and asked, and what it answers. */

export interface BusyCustomer {
	userId: string;
	token: string;
	shard: number;
	/** Alarms in the inbox before the load begins: they are marked as read and as unread in turn. */
	ids: string[];
}

export interface BusyPlan {
	createPort: number;
	queryPort: number;
	producerKey: string;
	/** A file of them. */
	customers: string;
	shards: number;
	creationsPerS: number;
	pagesPerS: number;
	marksPerS: number;
}

export type BusyQuestion =
	| ({ kind: "begin" } & BusyPlan)
	/** What was seen since the last window; pages of one shard may be left out. */
	| { kind: "window"; without?: number }
	| { kind: "end" };

export interface BusyWindow {
	pages: number;
	p50Ms: number;
	p99Ms: number;
	accepted: number;
	/** Creations that were answered otherwise, so far. */
	refused: number;
	/** Pages and marks that were answered neither 200 nor, at a fence, 503, so far: `page 500 …`. */
	failed: string[];
	/** By shard. */
	pauses: Pause[];
}

/** The longest waits of one shard's writers, from when a write was due. */
export interface Pause {
	/** Until a mark was taken, however often it was asked to come again. */
	markMs: number;
	/** From the 202 of an alarm until it could be read. */
	readableMs: number;
	/** Marks that were asked to come again. */
	retried: number;
}

export interface BusyEnd extends BusyWindow {
	ids: string[];
	/** Whether the alarm is marked as read, as the service has said last. */
	marks: [id: string, read: boolean][];
}

/** Nobody has waited yet. */
export function noPauses(shards: number): Pause[] {
	return Array.from({ length: shards }, () => ({ markMs: 0, readableMs: 0, retried: 0 }));
}

/** The longer of both waits, by shard. */
export function longer(one: Pause[], other: Pause[]): Pause[] {
	return one.map((pause, shard) => ({
		markMs: Math.max(pause.markMs, other[shard]?.markMs ?? 0),
		readableMs: Math.max(pause.readableMs, other[shard]?.readableMs ?? 0),
		retried: pause.retried + (other[shard]?.retried ?? 0),
	}));
}
