import type { Document } from "mongodb";
import { FAILURES } from "../../contracts/errors.ts";
import type { RedriveItem, RedriveResult } from "../../contracts/failures.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { decideAgain } from "../../domain/alarms/failures.ts";
import { showId } from "../../domain/alarms/ids.ts";
import { type FailureRow, isTombstone, type Slot, type Tombstone } from "../../domain/alarms/rows.ts";
import { type Decision, markFailed } from "../../domain/alarms/triage.ts";
import { insertResults, type WriteResult } from "../../domain/alarms/write-results.ts";
import { isArchived, slotIsComing, slotOf, type Target } from "../../domain/routing/routing.ts";
import { claimKeys } from "../alarms/idempotency-keys.ts";
import { findSlot } from "../alarms/inbox.ts";
import { isUnserializable } from "../alarms/insert-alarms.ts";
import { isArchiveUnavailable } from "../mongo/archive-breaker.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { Fenced, findIn, putInto } from "../mongo/commands.ts";
import type { CachedDocument } from "../routing/cached-document.ts";
import { findFailure, forgetFailure, renewFailure } from "./failures.ts";

/**
 * Sends a failure again. Straight into its slot and not by the queue: so the answer is what really became of the id, it works while the
 * queue is down, and no message id has to be made up (one that was used would be thrown away as a duplicate).
 * The id stays, and only a slot that says failed is replaced: so any number of redrives at once, and a redelivery among them, make one alarm.
 */
interface RedriveDeps {
	clusters: Clusters;
	routing: CachedDocument<RoutingMap>;
	/** Whose failures the caller may touch; null for everybody's. For others an id is unknown. */
	producer: string | null;
	nowMs: () => number;
	onError: (error: unknown) => void;
}

/** The slot is not to be had just now: nothing was changed. */
class NotNow extends Error {
	override readonly name = "NotNow";
}

/** @throws {Fault} UNAVAILABLE, {Fenced}, moved: nothing is known of the id, and it can be redriven again. */
export async function redriveOne(deps: RedriveDeps, map: RoutingMap, id: Buffer): Promise<RedriveItem> {
	try {
		const row = await findFailure(deps.clusters, map, id);
		if (row === null) return await withoutRow(deps, map, id);
		if (!isTheirs(deps, row.producer)) return resultFor(id, "unknown");
		if (row.discarded !== undefined) return resultFor(id, "discarded", `By ${row.discarded.by}: ${row.discarded.why}`);
		return await redriveRow(deps, map, row);
	} catch (error) {
		if (error instanceof NotNow) return resultFor(id, "unavailable", error.message);
		// Of this one alone: the shard's own cluster may be well.
		if (isArchiveUnavailable(error))
			return resultFor(id, "unavailable", "Its archive does not answer; try again in a moment.");
		throw error;
	}
}

/**
 * What a redrive is about to write has to hold its key, as at intake: one that belongs to another alarm by now leaves as a duplicate or as
 * a conflict. A key whose day is over binds nobody any more.
 */
async function settleKey(deps: RedriveDeps, decision: Decision): Promise<Decision> {
	const { slot } = decision;
	const { held } = await claimKeys(deps, [decision]);
	const why = held.get(decision);
	if (why !== undefined) throw new NotNow(`It waits, because ${why}; try again in a moment.`);
	return isKeyDayOver(decision.slot) ? { ...decision, slot } : decision;
}

function isKeyDayOver(slot: Slot): boolean {
	return isTombstone(slot) && slot.why?.code === "KEY_DAY_CLOSED";
}

/** The slot first, its failure row after: a crash between the two leaves a row whose slot is not failed, and the next redrive clears it. */
async function redriveRow(deps: RedriveDeps, map: RoutingMap, row: FailureRow): Promise<RedriveItem> {
	const target = slotOf(map, row._id);
	if (target !== null && isArchived(target)) return redriveLate(deps, map, target, row);
	const decision = await settleKey(deps, decideAgain(row, deps.nowMs()));
	const { slot, isOurs } = await fill(deps, map, decision);
	if (saysFailed(slot)) return failedAgain(deps, map, slot);
	await forgetFailure(deps.clusters, map, row._id);
	if (!isOurs) return notFailed(slot);
	return resultFor(row._id, isTombstone(slot) ? resultOf(slot) : "stored");
}

/** Nothing is put into an archived month, and no key is claimed for it: what stands there is final. */
async function redriveLate(deps: RedriveDeps, map: RoutingMap, target: Target, row: FailureRow): Promise<RedriveItem> {
	const [slot] = await findIn<Slot>(deps.clusters, target, { _id: row._id }, 1);
	if (slot === undefined) return failedAgain(deps, map, tooLate(deps, decideAgain(row, deps.nowMs())));
	if (saysFailed(slot)) return resultFor(slot._id, "failed", `MONTH_CLOSED: ${FAILURES.MONTH_CLOSED}`);
	await forgetFailure(deps.clusters, map, row._id);
	return notFailed(slot);
}

/** What stands in the slot then, and whether we put it there. */
interface Filled {
	slot: Slot;
	isOurs: boolean;
}

async function fill(deps: RedriveDeps, map: RoutingMap, decision: Decision): Promise<Filled> {
	const target = slotOf(map, decision.id);
	if (target === null) return { slot: closed(deps, map, decision), isOurs: true };
	const result = await replaceFailed(deps.clusters, target, decision.slot);
	if (result === "stored") return { slot: decision.slot, isOurs: true };
	if (result === "duplicate") return { slot: await standing(deps.clusters, target, decision.id), isOurs: false };
	return { slot: await bury(deps, target, decision), isOurs: true };
}

/** No collection, no slot: the failure row is all there is, as at intake. */
function closed(deps: RedriveDeps, map: RoutingMap, decision: Decision): Slot {
	if (slotIsComing(map, decision.id, deps.nowMs()))
		throw new NotNow("Its month has no collection yet; try again in a moment.");
	return tooLate(deps, decision);
}

function tooLate({ nowMs }: RedriveDeps, decision: Decision): Tombstone {
	return saysFailed(decision.slot) ? decision.slot : markFailed(decision, "MONTH_CLOSED", nowMs()).slot;
}

/** The database will not take the row: its slot goes on saying failed, with the newest cause. */
async function bury(deps: RedriveDeps, target: Target, decision: Decision): Promise<Slot> {
	const { slot } = markFailed(decision, "STORE_REJECTED", deps.nowMs());
	const result = await replaceFailed(deps.clusters, target, slot);
	if (result === "stored") return slot;
	throw new NotNow(`Its shard answered: ${result}; try again in a moment.`);
}

/**
 * One conditional write: a slot that says failed is replaced, a free one is filled, and any other is met as a duplicate key, because the
 * `_id` stands while the condition on it does not hold.
 */
async function replaceFailed(
	clusters: Clusters,
	target: Target,
	slot: Slot,
): Promise<Exclude<WriteResult, "fenced" | "unknown">> {
	const result = await tryPut(clusters, target, slot);
	if (result === "fenced") throw new Fenced(`${target.database}.${target.collection}`);
	if (result === "unknown") throw new NotNow("Its shard's answer did not add up; try again in a moment.");
	return result;
}

async function tryPut(clusters: Clusters, target: Target, slot: Slot): Promise<WriteResult> {
	try {
		const q = { _id: slot._id, outcome: "failed" };
		const [result] = insertResults(await putInto(clusters, target, q, slot as unknown as Document), 1);
		return result ?? "unknown";
	} catch (error) {
		if (isUnserializable(error)) return "rejected";
		throw error;
	}
}

async function standing(clusters: Clusters, target: Target, _id: Buffer): Promise<Slot> {
	const [slot] = await findIn<Slot>(clusters, target, { _id }, 1);
	if (slot !== undefined) return slot;
	throw new NotNow("Its slot was taken and is free again; try again in a moment.");
}

async function failedAgain(deps: RedriveDeps, map: RoutingMap, slot: Tombstone): Promise<RedriveItem> {
	const { code, message } = slot.why ?? { code: "STORE_REJECTED", message: "" };
	await renewFailure(deps.clusters, map, {
		_id: slot._id,
		code: code as FailureRow["code"],
		message,
		failedAt: slot.at,
	});
	return resultFor(slot._id, "failed", `${code}: ${message}`);
}

async function withoutRow(deps: RedriveDeps, map: RoutingMap, id: Buffer): Promise<RedriveItem> {
	const slot = await findSlot(deps.clusters, map, id);
	if (slot === null || !isTheirs(deps, slot.producer)) return resultFor(id, "unknown");
	// A worker writes the slot first and the row after.
	if (saysFailed(slot)) throw new NotNow("Its failure is being written just now; try again in a moment.");
	return notFailed(slot);
}

function notFailed(slot: Slot): RedriveItem {
	return resultFor(slot._id, "not_failed", `Its slot says ${isTombstone(slot) ? slot.outcome : "stored"}.`);
}

function isTheirs({ producer }: RedriveDeps, owner: string | undefined): boolean {
	return producer === null || producer === owner;
}

function saysFailed(slot: Slot): slot is Tombstone {
	return isTombstone(slot) && slot.outcome === "failed";
}

/** Of a markFailed that a redrive has put into a slot. */
function resultOf({ outcome }: Tombstone): RedriveResult {
	return outcome === "canceled" ? "not_failed" : outcome;
}

function resultFor(id: Buffer, result: RedriveResult, why?: string): RedriveItem {
	return { id: showId(id), result, ...(why !== undefined && { why }) };
}
