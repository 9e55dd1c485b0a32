import { setImmediate } from "node:timers/promises";
import type { Service } from "moleculer";
import type { Lane } from "../contracts/alarm.ts";
import { cutBatches, decodeBatch, encodeBatch, parkedItem } from "../domain/alarms/batch.ts";
import { shardOf } from "../domain/alarms/ids.ts";
import { type Decision, triage } from "../domain/alarms/triage.ts";
import { addDelay, noDelays } from "../domain/time/delay-histogram.ts";
import { type DelayRecord, newRecord, recordDelays } from "../domain/time/delay-record.ts";
import type { Metrics } from "../lib/metrics/metrics.ts";
import type { HasStreams } from "../mixins/jetstream.mixin.ts";
import type { HasRouting } from "../mixins/routing.mixin.ts";
import { type IntakeDeps, type Outcome, type Pace, takeIn } from "../stores/alarms/insert-alarms.ts";
import { type LedgerRow, writeLedger } from "../stores/alarms/ledger.ts";
import type { CircuitBreakers } from "../stores/mongo/circuit-breakers.ts";
import { publishParked } from "../streams/publisher.ts";
import type { Delivery } from "../streams/worker.ts";
import type { LanePriority } from "./lane-priority.ts";

/** What a worker does with the batches of a round, and a drainer with what was parked. */

export interface HasStoring {
	breakers: CircuitBreakers;
	metrics: Metrics;
	/** The realtime lane goes before the bulk lane. */
	lanePriority: LanePriority;
	/** How long alarms took from acceptance into their slot. */
	delays: Record<Lane, DelayRecord>;
}
type Storer = Service & HasRouting & HasStreams & HasStoring;

export function newDelays(nowMs: number): Record<Lane, DelayRecord> {
	return { realtime: newRecord(nowMs), bulk: newRecord(nowMs) };
}

/** One item on its way into its slot. */
interface Doing {
	decision: Decision;
	acceptedAtMs: number;
	/** False for one whose time cannot be read: then it is that of its batch's publish. */
	isTimed: boolean;
	outcome: Outcome;
}

/**
 * Stores the items of many batches, then writes the ledger, then parks what could not be stored. A batch is safe when all of its items
 * are stored or parked. The ledger first: while no cluster takes it, batches stay in the queue and are not parked again and again.
 */
export async function storeRound(
	storer: Storer,
	lane: Lane,
	deliveries: Delivery[],
	onSlow: () => void,
): Promise<boolean[]> {
	const batches = await store(storer, lane, deliveries, { breaker: storer.breakers.ofRounds[lane], onSlow });
	const rows = deliveries.map((delivery, at) => ledgerRow(lane, delivery, batches[at] ?? []));
	const { clusters, routing, breakers } = storer;
	const full = rows.filter(({ ids }) => ids.length > 0);
	if (full.length > 0)
		await writeLedger({ clusters, breaker: breakers.ofRounds[lane] }, routing.current, full, Date.now());
	const unsafe = batches.flat().filter(({ outcome }) => !outcome.safe);
	const parked = await park(storer, lane, unsafe);
	return batches.map((batch) => batch.every((doing) => doing.outcome.safe || parked.has(doing)));
}

/** Stores what was parked. What still cannot be stored stays where it is: it is never parked again. */
export async function drainParked(storer: Storer, lane: Lane, deliveries: Delivery[]): Promise<boolean[]> {
	const batches = await store(storer, lane, deliveries, {
		breaker: storer.breakers.ofDrainers,
		onSlow: () => undefined,
	});
	return batches.map((batch) => batch.every(({ outcome }) => outcome.safe));
}

/** A round of so many is a backlog: then a cluster gets two inserts at once, otherwise one after the other. */
const BACKLOG_ROWS = 2_000;
const ALONE = { rows: 1_000, yieldTo: () => Promise.resolve() };
/** Small steps: an insert of the realtime lane waits behind the one that a cluster has in hand. */
const BESIDE_ROWS = 250;
const REALTIME_INSERTS = 16;

function paceOf({ lanePriority }: Storer, lane: Lane, rows: number): Pace {
	if (lane === "realtime" && rows < BACKLOG_ROWS) return { ...ALONE, inserts: REALTIME_INSERTS };
	if (lane === "bulk" && lanePriority.isExpected)
		return { rows: BESIDE_ROWS, inserts: 1, yieldTo: () => lanePriority.yieldTo() };
	return { ...ALONE, inserts: rows < BACKLOG_ROWS ? 1 : 2 };
}

/** What a round and a drainer do differently. */
type Manner = Pick<IntakeDeps, "breaker" | "onSlow">;

function store(storer: Storer, lane: Lane, deliveries: Delivery[], manner: Manner): Promise<Doing[][]> {
	const work = () => storeItems(storer, lane, deliveries, manner);
	return lane === "realtime" ? storer.lanePriority.first(work) : work();
}

/** Batch by batch: between two of them the event loop is free for whatever else there is. */
async function readBatches(storer: Storer, lane: Lane, deliveries: Delivery[]) {
	const nowMs = Date.now();
	const batches: ReturnType<typeof itemsOf>[] = [];
	for (const delivery of deliveries) {
		batches.push(itemsOf(lane, delivery, nowMs));
		if (lane === "bulk" && storer.lanePriority.isExpected) await setImmediate();
	}
	return batches;
}

async function storeItems(storer: Storer, lane: Lane, deliveries: Delivery[], manner: Manner): Promise<Doing[][]> {
	const batches = await readBatches(storer, lane, deliveries);
	const { clusters, routing } = storer;
	const onError = (error: unknown) => storer.logger.error(`the ${lane} worker: ${error}`);
	const decisions = batches.flat().map(({ decision }) => decision);
	const pace = paceOf(storer, lane, decisions.length);
	const deps = { clusters, routing, lane, ...manner, pace, nowMs: Date.now, onError };
	const outcomes = await takeIn(deps, decisions);
	reportUnsafe(storer, lane, outcomes);
	const next = outcomes.values();
	const done = batches.map((batch) => batch.map((item) => ({ ...item, outcome: next.next().value as Outcome })));
	count(storer, lane, done.flat());
	return done;
}

/**
 * Counts what became of each, and how long it took those that this round made safe. One that stood there, also as a failure, was
 * counted in the round that put it there.
 */
function count({ metrics, delays }: Storer, lane: Lane, done: Doing[]): void {
	const nowMs = Date.now();
	const counts = { stored: 0, duplicate: 0, failed: 0 };
	const round = noDelays(nowMs);
	for (const { outcome, acceptedAtMs, isTimed } of done) {
		if (!outcome.safe) continue;
		counts[outcome.isNew ? outcome.as : "duplicate"]++;
		if (isTimed && outcome.isNew) addDelay(round, nowMs - acceptedAtMs);
	}
	recordDelays(delays[lane], round, nowMs);
	for (const [outcome, many] of Object.entries(counts)) metrics.stored(lane, outcome, many);
}

function itemsOf(lane: Lane, delivery: Delivery, nowMs: number) {
	return decodeBatch(delivery.payload).map((item, index) => ({
		decision: triage(item, nowMs, { ...delivery, lane, index }),
		acceptedAtMs: "queued" in item ? item.queued.acceptedAtMs : delivery.streamTimeMs,
		isTimed: "queued" in item,
	}));
}

function ledgerRow(lane: Lane, { epoch, number, streamTimeMs }: Delivery, batch: Doing[]): LedgerRow {
	const counts = { stored: 0, duplicate: 0, failed: 0, parked: 0 };
	for (const { outcome } of batch) counts[outcome.safe ? outcome.as : "parked"]++;
	return { epoch, number, lane, ids: batch.map(({ decision }) => decision.id), counts, publishedAtMs: streamTimeMs };
}

/** Puts items into the parking of their shards, and tells which are on disk there. */
async function park(storer: Storer, lane: Lane, unsafe: Doing[]): Promise<Set<Doing>> {
	const shardCount = storer.routing.current.shards.length;
	const byShard = Map.groupBy(unsafe, ({ decision }) => shardOf(decision.id, shardCount));
	const parked = await Promise.all([...byShard].map(([shard, some]) => parkShard(storer, lane, shard, some)));
	return new Set(parked.flat());
}

async function parkShard(storer: Storer, lane: Lane, shard: number, some: Doing[]): Promise<Doing[]> {
	const items = some.map(({ decision, acceptedAtMs }) => parkedItem(decision.id, decision.line, acceptedAtMs));
	const batches = cutBatches(items);
	const published = await Promise.all(batches.map((batch) => parkBatch(storer, lane, shard, batch)));
	const isOnDisk = batches.flatMap((batch, at) => batch.map(() => published[at] === true));
	return some.filter((_, at) => isOnDisk[at]);
}

type ParkedItems = ReturnType<typeof parkedItem>[];

async function parkBatch({ streams, logger }: Storer, lane: Lane, shard: number, batch: ParkedItems): Promise<boolean> {
	if (streams.jetstream === null) return false;
	const sinceMs = Math.min(...batch.map(({ acceptedAtMs }) => acceptedAtMs));
	try {
		await publishParked(streams.jetstream, lane, shard, encodeBatch(batch), sinceMs);
		return true;
	} catch (error) {
		logger.warn(`${lane}: a batch for shard ${shard} could not be parked and comes again: ${error}`);
		return false;
	}
}

function reportUnsafe(service: Service, lane: Lane, outcomes: Outcome[]): void {
	const unsafe = outcomes.filter((outcome) => !outcome.safe);
	const [first] = unsafe;
	if (first !== undefined)
		service.logger.warn(`${lane}: ${unsafe.length} of ${outcomes.length} alarms wait, because ${first.why}`);
}
