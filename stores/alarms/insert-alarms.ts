import { BSON, type Document, MongoServerError } from "mongodb";
import type { Lane } from "../../contracts/alarm.ts";
import type { FailureCode } from "../../contracts/errors.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { describedBy } from "../../domain/alarms/failures.ts";
import { idTimeMs, shardOf, showId } from "../../domain/alarms/ids.ts";
import { type FailureRow, isTombstone, type Slot } from "../../domain/alarms/rows.ts";
import { type Decision, markFailed } from "../../domain/alarms/triage.ts";
import { insertResults, isUnreadable, type WriteResult } from "../../domain/alarms/write-results.ts";
import { SHARD_CATALOG } from "../../domain/routing/collection-catalog.ts";
import {
	isArchived,
	shardPlace,
	shardTarget,
	slotIsComing,
	slotOf,
	type Target,
} from "../../domain/routing/routing.ts";
import { monthOf } from "../../domain/time/periods.ts";
import { inTime, TooLate } from "../../lib/timeout.ts";
import { isArchiveUnavailable } from "../mongo/archive-breaker.ts";
import type { CircuitBreaker } from "../mongo/circuit-breakers.ts";
import { isUnavailable } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { findIn, insertInto, isMoved } from "../mongo/commands.ts";
import type { CachedDocument } from "../routing/cached-document.ts";
import { claimKeys } from "./idempotency-keys.ts";

/** What became of one item: it is safe in the database, or it has to come again. New: this round made it so; else it stood there. */
export type Outcome =
	| { safe: true; as: "stored" | "duplicate" | "failed"; isNew: boolean }
	| { safe: false; why: string };

export interface IntakeDeps {
	clusters: Clusters;
	routing: CachedDocument<RoutingMap>;
	lane: Lane;
	breaker: CircuitBreaker;
	pace: Pace;
	/** Called when what is left of a round waits for a slow cluster. */
	onSlow: () => void;
	nowMs: () => number;
	/** Hears of errors that are neither an outage nor a moved collection. */
	onError: (error: unknown) => void;
}

/** How hard a cluster is pressed. */
export interface Pace {
	/** Rows of one command at most: far below the server's 48 MB. */
	rows: number;
	/** Inserts of one round on a cluster at once. */
	inserts: number;
	/** Waited for before each command. */
	yieldTo(): Promise<void>;
}

const SLOW_MS = 20;

/** Puts every decision into its slot: grouped by shard and month, sorted by `_id`, with majority and journal. In the order given. */
export async function takeIn(deps: IntakeDeps, decisions: Decision[]): Promise<Outcome[]> {
	const outcomes = new Map<Decision, Outcome>();
	const groups = groupBySlot(deps.routing.current, decisions);
	const byCluster = Map.groupBy(groups.values(), ({ cluster }) => cluster);
	const fill = (group: Group) => fillInTime(deps, group, outcomes);
	const works = [...byCluster.values()].map((some) => inTurns(some, deps.pace.inserts, fill));
	const stopWatching = watchSlowGroups(works, deps.onSlow);
	await Promise.all(works);
	stopWatching();
	return decisions.map((decision) => outcomes.get(decision) ?? comesAgain("its database does not answer in time"));
}

/** Tells when one cluster is done and the others take more than twice as long. */
function watchSlowGroups(works: Promise<void>[], onSlow: () => void): () => void {
	const beganMs = performance.now();
	let timer: NodeJS.Timeout | undefined;
	void Promise.race(works).then(() => {
		const tookMs = performance.now() - beganMs;
		// One that was not even tried says nothing of how long the others should take.
		if (works.length > 1 && tookMs >= 1) timer = setTimeout(onSlow, Math.max(tookMs, SLOW_MS));
	});
	return () => clearTimeout(timer);
}

/** In turns: sixteen inserts at once would leave a reader on the same cluster a seventeenth of its processor. */
async function inTurns(groups: Group[], atOnce: number, work: (group: Group) => Promise<void>): Promise<void> {
	const turns = groups.values();
	const hand = async () => {
		for (const group of turns) await work(group);
	};
	await Promise.all(Array.from({ length: atOnce }, hand));
}

interface Group {
	/** Where its slots are, and if that is an archive, where its shard is: there lie the failures. */
	cluster: string;
	home: string;
	target: Target | null;
	decisions: Decision[];
}

function groupBySlot(map: RoutingMap, decisions: Decision[]): Map<string, Group> {
	const groups = new Map<string, Group>();
	for (const decision of decisions) {
		const shard = shardOf(decision.id, map.shards.length);
		const key = `${shard} ${monthOf(idTimeMs(decision.id))}`;
		const group = groups.get(key) ?? newGroup(map, shard, decision.id);
		group.decisions.push(decision);
		groups.set(key, group);
	}
	return groups;
}

async function fillInTime(deps: IntakeDeps, group: Group, outcomes: Map<Decision, Outcome>): Promise<void> {
	const { cluster, home, target, decisions } = group;
	if (target === null || !isArchived(target)) {
		await patiently(deps, cluster, decisions.length, () => fillGroup(deps, group, outcomes));
		return;
	}
	// The archive and the shard's cluster apart: the silence of one says nothing of the other.
	const standing = await patiently(deps, cluster, decisions.length, () => findStanding(deps, target, decisions));
	if (standing !== null)
		await patiently(deps, home, decisions.length, () => settleLate(deps, decisions, standing, outcomes));
}

/** A silent cluster costs a round about a second, once; then its groups are left at once until it has answered somebody. Null: no answer. */
async function patiently<T>(
	deps: IntakeDeps,
	cluster: string,
	rows: number,
	work: () => Promise<T>,
): Promise<T | null> {
	const { breaker } = deps;
	if (!breaker.mayTry(cluster)) return null;
	const beganMs = performance.now();
	try {
		const done = await inTime(work(), breaker.limitMs(rows));
		breaker.recordSuccess(cluster, performance.now() - beganMs, rows);
		return done;
	} catch (error) {
		if (error instanceof TooLate || isUnavailable(error) || isArchiveUnavailable(error)) breaker.recordFailure(cluster);
		else await reloadIfMoved(deps, error);
		return null;
	}
}

function newGroup(map: RoutingMap, shard: number, id: Uint8Array): Group {
	const home = shardPlace(map, shard).cluster;
	const target = slotOf(map, id);
	return { cluster: target?.cluster ?? home, home, target, decisions: [] };
}

async function fillGroup(
	deps: IntakeDeps,
	{ target, decisions }: Group,
	outcomes: Map<Decision, Outcome>,
): Promise<void> {
	if (target === null) return withoutCollection(deps, decisions, outcomes);
	await deps.pace.yieldTo();
	const { ready, held } = await claimKeys(deps, decisions);
	for (const [decision, why] of held) outcomes.set(decision, comesAgain(why));
	ready.sort((one, other) => one.id.compare(other.id));
	const { rows, yieldTo } = deps.pace;
	for (let at = 0; at < ready.length; at += rows) {
		await yieldTo();
		await fillSlots(deps, target, ready.slice(at, at + rows), outcomes);
	}
}

async function fillSlots(
	deps: IntakeDeps,
	target: Target,
	decisions: Decision[],
	outcomes: Map<Decision, Outcome>,
): Promise<void> {
	const results = await insertAll(deps, target, decisions);
	const failures = await failuresAmong(deps, target, decisions, results);
	const kept = await keepFailures(deps, failures);
	decisions.forEach((decision, index) => {
		const row = kept.get(decision);
		outcomes.set(decision, row === undefined ? slotOutcome(results[index] ?? "unknown") : failureOutcome(row));
	});
}

async function insertAll(deps: IntakeDeps, target: Target, decisions: Decision[]): Promise<WriteResult[]> {
	const results = await tryInsert(deps, target, slotsOf(decisions));
	return Promise.all(
		results.map((result, at) => (result === "rejected" ? insertAsFailed(deps, target, decisions, at) : result)),
	);
}

function slotsOf(decisions: Decision[]): Row[] {
	return decisions.map(({ slot }) => slot);
}

type Row = Slot | FailureRow;

async function tryInsert(deps: IntakeDeps, target: Target, rows: Row[]): Promise<WriteResult[]> {
	try {
		const reply = await insertInto(deps.clusters, target, rows as unknown as Document[]);
		return insertResults(reply, rows.length);
	} catch (error) {
		if (isUnserializable(error)) return oneByOne(deps, target, rows);
		if (isUnavailable(error)) throw error;
		await reloadIfMoved(deps, error);
		return rows.map(() => "unknown");
	}
}

/** The driver could not even put the rows into words: find the one, so that it fails alone. */
async function oneByOne(deps: IntakeDeps, target: Target, rows: Row[]): Promise<WriteResult[]> {
	if (rows.length === 1) return ["rejected"];
	const middle = rows.length >> 1;
	const [front, back] = [rows.slice(0, middle), rows.slice(middle)];
	return [...(await tryInsert(deps, target, front)), ...(await tryInsert(deps, target, back))];
}

/** An error of one row that hits the whole command: of serialization, before anything was sent, or of the server's reading of it. */
export function isUnserializable(error: unknown): boolean {
	if (error instanceof MongoServerError) return isUnreadable(Number(error.code));
	// By name: inside of jest Node's own errors are of another realm.
	const { name } = (error ?? {}) as { name?: unknown };
	return BSON.BSONError.isBSONError(error) || name === "RangeError" || name === "TypeError";
}

/** A row that the database will never take becomes a tombstone in its own slot. */
async function insertAsFailed(
	deps: IntakeDeps,
	target: Target,
	decisions: Decision[],
	at: number,
): Promise<WriteResult> {
	const decision = decisions[at];
	if (decision === undefined) return "unknown";
	decision.slot = markFailed(decision, "STORE_REJECTED", deps.nowMs()).slot;
	const [result] = await tryInsert(deps, target, [decision.slot]);
	return result ?? "unknown";
}

/** Those whose slot says `failed`: ours, or one found taken, whose failure row may be missing since a crash between the two writes. */
async function failuresAmong(
	deps: IntakeDeps,
	target: Target,
	decisions: Decision[],
	results: WriteResult[],
): Promise<Map<Decision, Slot>> {
	const failures = new Map<Decision, Slot>();
	const duplicates: Decision[] = [];
	decisions.forEach((decision, index) => {
		if (results[index] === "duplicate") duplicates.push(decision);
		if (results[index] === "stored" && saysFailed(decision.slot)) failures.set(decision, decision.slot);
	});
	if (duplicates.length === 0) return failures;
	const ids = duplicates.map(({ id }) => id);
	const standing = await findIn<Slot>(deps.clusters, target, { _id: { $in: ids }, outcome: "failed" }, ids.length);
	const byId = new Map(standing.map((slot) => [slot._id.toString("latin1"), slot]));
	for (const decision of duplicates) {
		const slot = byId.get(decision.id.toString("latin1"));
		if (slot) failures.set(decision, slot);
	}
	return failures;
}

function saysFailed(slot: Slot): boolean {
	return isTombstone(slot) && slot.outcome === "failed";
}

/** A verdict for the row of each; one that is not there may not be acked. Many to a command: a flood of failures must not look like silence. */
async function keepFailures(deps: IntakeDeps, failures: Map<Decision, Slot>): Promise<Map<Decision, WriteResult>> {
	const { pace, lane } = deps;
	const all = [...failures].sort(([one], [other]) => one.id.compare(other.id));
	const kept = new Map<Decision, WriteResult>();
	for (let at = 0; at < all.length; at += pace.rows) {
		const some = all.slice(at, at + pace.rows);
		await pace.yieldTo();
		const rows = some.map(([decision, slot]) => failureRow(decision, slot, lane));
		const results = await insertFailures(deps, rows);
		for (const [index, [decision]] of some.entries()) kept.set(decision, results[index] ?? "unknown");
	}
	return kept;
}

/** Of one shard: where the rows of a group lie. */
async function insertFailures(deps: IntakeDeps, rows: FailureRow[]): Promise<WriteResult[]> {
	const { routing, onError } = deps;
	const shard = shardOf((rows[0] as FailureRow)._id, routing.current.shards.length);
	const target = shardTarget(routing.current, shard, SHARD_CATALOG.failures.kind);
	const results = target && (await tryInsert(deps, target, rows));
	if (results === null) onError(new Error(`shard ${shard} has no collection of failures`));
	const refused = rows.filter((_, at) => results?.[at] === "rejected").map(({ _id }) => showId(_id));
	if (refused.length > 0) onError(new Error(`the database refuses the failure rows of ${refused.join(", ")}`));
	return results ?? [];
}

function failureRow({ id, line, userId, slot: own }: Decision, slot: Slot, lane: Lane): FailureRow {
	const { why, producer, at } = isTombstone(slot) ? slot : { why: undefined, producer: slot.producer, at: new Date(0) };
	const row: FailureRow = {
		_id: id,
		code: (why?.code ?? "STORE_REJECTED") as FailureCode,
		message: why?.message ?? "",
		lane,
		item: line,
		failedAt: at,
	};
	const sender = producer ?? own.producer;
	if (sender !== undefined) row.producer = sender;
	if (userId !== undefined) row.userId = userId;
	return Object.assign(row, describedBy(line));
}

/** No collection: wait if the router has still to make it; otherwise the month is closed and the failure row is all there is. */
async function withoutCollection(
	deps: IntakeDeps,
	decisions: Decision[],
	outcomes: Map<Decision, Outcome>,
): Promise<void> {
	const [first] = decisions;
	if (first !== undefined && isComing(deps, first)) {
		await deps.routing.reload().catch(() => undefined);
		for (const decision of decisions) outcomes.set(decision, comesAgain("its month has no collection yet"));
		return;
	}
	await settleLate(deps, decisions, new Map(), outcomes);
}

function isComing({ routing, nowMs }: IntakeDeps, { id }: Decision): boolean {
	return slotIsComing(routing.current, id, nowMs());
}

/** What stands in slots of the archive, without what alarms say, by the key of the id. */
type Standing = Map<string, Slot>;

async function findStanding(deps: IntakeDeps, target: Target, decisions: Decision[]): Promise<Standing> {
	const found: Standing = new Map();
	const { rows, yieldTo } = deps.pace;
	const projection = { outcome: 1, why: 1, producer: 1, at: 1 };
	for (let at = 0; at < decisions.length; at += rows) {
		await yieldTo();
		const ids = decisions.slice(at, at + rows).map(({ id }) => id);
		const slots = await findIn<Slot>(deps.clusters, target, { _id: { $in: ids } }, ids.length, { projection });
		for (const slot of slots) found.set(slot._id.toString("latin1"), slot);
	}
	return found;
}

/** Of a month that takes nothing any more: safe is what stands there; of what does not the failure row is all there is. */
async function settleLate(
	deps: IntakeDeps,
	decisions: Decision[],
	standing: Standing,
	outcomes: Map<Decision, Outcome>,
): Promise<void> {
	const failures = new Map<Decision, Slot>();
	for (const decision of decisions) {
		const slot = standing.get(decision.id.toString("latin1")) ?? closedSlot(deps, decision);
		if (saysFailed(slot)) failures.set(decision, slot);
		else outcomes.set(decision, slotOutcome("duplicate"));
	}
	for (const [decision, row] of await keepFailures(deps, failures)) outcomes.set(decision, failureOutcome(row));
}

function closedSlot({ nowMs }: IntakeDeps, decision: Decision): Slot {
	return saysFailed(decision.slot) ? decision.slot : markFailed(decision, "MONTH_CLOSED", nowMs()).slot;
}

function slotOutcome(result: WriteResult): Outcome {
	if (result !== "stored" && result !== "duplicate") return comesAgain(`its shard answered: ${result}`);
	return { safe: true, as: result, isNew: result === "stored" };
}

/** The row comes last: the round that writes it is the one that has made the failure safe. */
function failureOutcome(row: WriteResult): Outcome {
	if (row !== "stored" && row !== "duplicate") return comesAgain("its failure row could not be stored");
	return { safe: true, as: "failed", isNew: row === "stored" };
}

function comesAgain(why: string): Outcome {
	return { safe: false, why };
}

/** Whatever it was, nothing is known of the rows and they come again; a moved collection is looked up before. */
async function reloadIfMoved({ routing, onError }: IntakeDeps, error: unknown): Promise<void> {
	if (isMoved(error)) await routing.reload().catch(onError);
	else if (!isUnavailable(error)) onError(error);
}
