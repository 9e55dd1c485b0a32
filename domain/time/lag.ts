import type { Lane } from "../../contracts/alarm.ts";
import type { DelayCounts, Lag, LaneLag, OutboxLag } from "../../contracts/lag.ts";
import { mergeDelays, noDelays, summaryOf } from "./delay-histogram.ts";

/** What a lane's stream holds. `batches` are all of them, the parked ones included. */
export interface LaneHolds {
	batches: number;
	oldestMs: number | null;
	/** Batches by shard. */
	parked: ReadonlyMap<number, number>;
}

/** What an outbox holds. */
export interface OutboxHolds {
	batches: number;
	bytes: number;
	oldestMs: number | null;
}

/** Everything that waits, as it was found. Null is a part that did not answer. */
export interface Pending {
	/** When the parts were asked. */
	atMs: number;
	lanes: Record<Lane, LaneHolds> | null;
	outbox: { cluster: string; holds: OutboxHolds | null }[];
	lowWatermark: { atMs: number | null } | null;
}

/** What one worker has told of its delays; null when it did not answer. */
export interface WorkerDelays {
	node: string;
	delays: Record<Lane, DelayCounts> | null;
}

export function lagOf(pending: Pending, workers: WorkerDelays[]): Lag {
	const { atMs, lanes, outbox, lowWatermark } = pending;
	const lane = (name: Lane) => laneLag(lanes?.[name] ?? null, delaysOf(workers, name, atMs), atMs);
	const watermarkMs = lowWatermark?.atMs ?? null;
	return {
		at: iso(atMs),
		lanes: { realtime: lane("realtime"), bulk: lane("bulk") },
		parked: lanes === null ? [] : [...parkedOf("realtime", lanes), ...parkedOf("bulk", lanes)],
		outbox: outbox.map(({ cluster, holds }) => outboxLag(cluster, holds, atMs)),
		lowWatermark: watermarkMs === null ? null : iso(watermarkMs),
		oldestPendingAgeMs: oldestPendingAgeMs(pending),
		workers: workers.filter(({ delays }) => delays !== null).map(({ node }) => node),
		unavailable: [...unavailableParts(pending), ...silentWorkers(workers)],
	};
}

function laneLag(holds: LaneHolds | null, delays: DelayCounts, atMs: number): LaneLag {
	const parkedBatches = holds === null ? null : parkedIn(holds);
	return {
		batches: holds === null ? null : waitingIn(holds),
		parkedBatches,
		oldestAgeMs: ageMs(holds?.oldestMs ?? null, atMs),
		delay: summaryOf(delays),
	};
}

/** Batches that wait for a worker. */
export function waitingIn(holds: LaneHolds): number {
	return holds.batches - parkedIn(holds);
}

function parkedIn({ parked }: LaneHolds): number {
	return [...parked.values()].reduce((sum, batches) => sum + batches, 0);
}

function parkedOf(lane: Lane, lanes: Record<Lane, LaneHolds>): Lag["parked"] {
	const shards = [...lanes[lane].parked].sort(([one], [other]) => one - other);
	return shards.map(([shard, batches]) => ({ lane, shard, batches }));
}

function outboxLag(cluster: string, holds: OutboxHolds | null, atMs: number): OutboxLag {
	if (holds === null) return { cluster, unavailable: true };
	return { cluster, batches: holds.batches, bytes: holds.bytes, oldestAgeMs: ageMs(holds.oldestMs, atMs) };
}

function delaysOf(workers: WorkerDelays[], lane: Lane, atMs: number): DelayCounts {
	const known = workers.flatMap(({ delays }) => (delays === null ? [] : [delays[lane]]));
	return known.reduce(mergeDelays, noDelays(atMs));
}

/** 0 when nothing waits anywhere; null when nothing is known to wait and a part did not answer. */
export function oldestPendingAgeMs({ atMs, lanes, outbox, ...rest }: Pending): number | null {
	const holds = [...Object.values(lanes ?? {}), ...outbox.map((one) => one.holds)];
	const known = holds.map((one) => one?.oldestMs ?? null).filter((oldestMs) => oldestMs !== null);
	if (known.length > 0) return ageMs(Math.min(...known), atMs);
	const isBlind = unavailableParts({ atMs, lanes, outbox, ...rest }).some((part) => part !== "low-watermark");
	return isBlind ? null : 0;
}

export function unavailableParts({ lanes, outbox, lowWatermark }: Pending): string[] {
	return [
		...(lanes === null ? ["queue"] : []),
		...outbox.filter(({ holds }) => holds === null).map(({ cluster }) => `outbox ${cluster}`),
		...(lowWatermark === null ? ["low-watermark"] : []),
	];
}

function silentWorkers(workers: WorkerDelays[]): string[] {
	if (workers.length === 0) return ["workers"];
	return workers.filter(({ delays }) => delays === null).map(({ node }) => `worker ${node}`);
}

/** Clocks differ a little: an age below zero is none. */
function ageMs(sinceMs: number | null, atMs: number): number | null {
	return sinceMs === null ? null : Math.max(atMs - sinceMs, 0);
}

function iso(timeMs: number): string {
	return new Date(timeMs).toISOString();
}
