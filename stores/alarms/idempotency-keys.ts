import type { Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import {
	type Claim,
	claimOf,
	isSettled,
	type KeyRow,
	type Loss,
	lossAfter,
	lossOnOwnDay,
	lostSlot,
	type Meeting,
	meetingOf,
	tombstoneOf,
} from "../../domain/alarms/idempotency.ts";
import { idTimeMs, shardOf } from "../../domain/alarms/ids.ts";
import { isTombstone, type Slot } from "../../domain/alarms/rows.ts";
import { type Decision, markFailed } from "../../domain/alarms/triage.ts";
import { insertResults, type WriteResult } from "../../domain/alarms/write-results.ts";
import { keyDayIsComing, keysOf } from "../../domain/routing/collection-catalog.ts";
import {
	isArchived,
	shardPlace,
	shardTarget,
	slotIsComing,
	slotOf,
	type Target,
} from "../../domain/routing/routing.ts";
import { addDays, monthOf } from "../../domain/time/periods.ts";
import { isArchiveUnavailable } from "../mongo/archive-breaker.ts";
import { isUnavailable } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { findIn, insertInto, isMoved, toBuffer, updateAll } from "../mongo/commands.ts";
import type { CachedDocument } from "../routing/cached-document.ts";

/**
 * Claims the idempotency keys of alarms before their slots are filled. Everything that is decided here is read off rows and slots that
 * never change back, so a crash between any two steps and a delivery that comes again, or twice at once, end the same way:
 *
 * 1. the request's row in the keys of its day: whoever has it holds the key on that day, the others have lost against it;
 * 2. only then the keys of the day before and of the day after are read. Of two holders on neighbouring days the one whose row came
 *    second therefore sees the other: never can both go on unseen;
 * 3. who of two loses is decided by trying to put a tombstone into the slot of the one that should;
 * 4. the loser's row says so afterwards (`of`), and never before its slot does: a holder that was stored and comes again would
 *    otherwise be marked as lost, and let the day after make the same alarm again.
 */

interface KeyDeps {
	clusters: Clusters;
	routing: CachedDocument<RoutingMap>;
	nowMs: () => number;
	/** Hears of errors that are neither an outage nor a moved collection. */
	onError: (error: unknown) => void;
}

/** The reason for each decision that has to come again, because it is not known what its key stands for. */
export type Held = Map<Decision, string>;

/**
 * The decisions of one shard whose slots may be filled; the slots of duplicates and conflicts have become tombstones.
 * @throws {Fault} UNAVAILABLE when the shard's cluster does not answer: nothing is known of any of them.
 */
export async function claimKeys(deps: KeyDeps, decisions: Decision[]): Promise<{ ready: Decision[]; held: Held }> {
	const held: Held = new Map();
	const claims = claimsOf(deps, decisions);
	if (claims.length === 0) return { ready: decisions, held };
	try {
		const steps = keySteps(deps, claims, held);
		while (!(await steps.next()).done);
	} catch (error) {
		if (isUnavailable(error)) throw error;
		for (const { decision } of claims) held.set(decision, "its idempotency key could not be claimed");
		if (isMoved(error)) await deps.routing.reload().catch(deps.onError);
		else deps.onError(error);
	}
	return { ready: decisions.filter((decision) => !held.has(decision)), held };
}

/** The claims of those that have a key. Content that cannot be put into words cannot be compared, or stored. */
export function claimsOf({ nowMs }: Pick<KeyDeps, "nowMs">, decisions: Decision[]): Claim[] {
	const claims: Claim[] = [];
	for (const decision of decisions) {
		try {
			const claim = claimOf(decision);
			if (claim !== null) claims.push({ decision, ...claim });
		} catch (error) {
			if (!(error instanceof RangeError)) throw error;
			decision.slot = markFailed(decision, "STORE_REJECTED", nowMs()).slot;
		}
	}
	return claims;
}

interface Work {
	deps: KeyDeps;
	map: RoutingMap;
	shard: number;
	held: Held;
}

/** The steps, one at a time, for claims of one shard. Tests stop between any two of them. */
export async function* keySteps(deps: KeyDeps, claims: Claim[], held: Held): AsyncGenerator<string, void, void> {
	const [first] = claims;
	if (first === undefined) return;
	const map = deps.routing.current;
	const work: Work = { deps, map, shard: shardOf(first.row._id, map.shards.length), held };
	const holders = await holdKeys(work, claims);
	yield "rows";
	const meetings = await meetingsOf(work, holders);
	yield "neighbours";
	const met = await meet(work, meetings);
	yield "meetings";
	await mark(work, met);
	yield "marks";
}

/** Puts the rows in; tells the claims that hold their keys. */
async function holdKeys(work: Work, claims: Claim[]): Promise<Claim[]> {
	const days = [...Map.groupBy(claims, ({ day }) => day)];
	const holders = await Promise.all(days.map(([day, ofDay]) => holdOnDay(work, day, ofDay)));
	return holders.flat();
}

async function holdOnDay(work: Work, day: string, claims: Claim[]): Promise<Claim[]> {
	const target = shardTarget(work.map, work.shard, keysOf(day));
	if (target === null) return closedOrComing(work, day, claims);
	// Stable: of two with one key in the same round the first that came holds it.
	claims.sort((one, other) => one.row._id.compare(other.row._id));
	const results = await insertRows(
		work,
		target,
		claims.map(({ row }) => row),
	);
	const duplicates = claims.filter((_, at) => results[at] === "duplicate");
	const ours = await oursAmong(work, target, duplicates);
	for (const [at, { decision }] of claims.entries()) hold(work, decision, results[at]);
	return claims.filter((claim, at) => results[at] === "stored" || ours.has(claim));
}

async function insertRows({ deps }: Work, target: Target, rows: (KeyRow | Slot)[]): Promise<WriteResult[]> {
	return insertResults(await insertInto(deps.clusters, target, rows as unknown as Document[]), rows.length);
}

function hold({ held }: Work, decision: Decision, result: WriteResult | undefined): void {
	if (result !== "stored" && result !== "duplicate") held.set(decision, `its shard's keys answered: ${result}`);
}

/** Of claims whose row was there: those that hold their key by an earlier delivery. The others have lost. */
async function oursAmong(work: Work, target: Target, duplicates: Claim[]): Promise<Set<Claim>> {
	const ours = new Set<Claim>();
	const standing = await rowsIn(work, target, duplicates);
	for (const claim of duplicates) {
		const row = standing.get(nameOf(claim.row));
		if (row === undefined) work.held.set(claim.decision, "its key's row is not known");
		else if (!lose(work, claim, lossOnOwnDay(claim.row, row))) ours.add(claim);
	}
	return ours;
}

function lose({ deps }: Work, { decision, row, producer }: Claim, loss: Loss | null): boolean {
	if (loss === null) return false;
	decision.slot = lostSlot(row, loss, producer, deps.nowMs());
	return true;
}

/** No collection for the day: wait if the router has still to make it. */
async function closedOrComing({ deps, map, shard, held }: Work, day: string, claims: Claim[]): Promise<Claim[]> {
	const nowMs = deps.nowMs();
	const isComing = keyDayIsComing(day, Object.keys(shardPlace(map, shard).collections), nowMs);
	if (isComing) await deps.routing.reload().catch(() => undefined);
	for (const { decision } of claims) {
		if (isComing) held.set(decision, "the keys of its day have no collection yet");
		else decision.slot = markFailed(decision, "KEY_DAY_CLOSED", nowMs).slot;
	}
	return [];
}

function nameOf({ _id }: KeyRow): string {
	return _id.toString("latin1");
}

async function rowsIn({ deps }: Work, target: Target, claims: Claim[]): Promise<Map<string, KeyRow>> {
	if (claims.length === 0) return new Map();
	const ids = claims.map(({ row }) => row._id);
	const rows = await findIn<KeyRow>(deps.clusters, target, { _id: { $in: ids } }, ids.length);
	return new Map(rows.map((row) => [nameOf(row), asRow(row)]));
}

function asRow(row: KeyRow): KeyRow {
	const known: KeyRow = { ...row, alarm: toBuffer(row.alarm), bodyHash: toBuffer(row.bodyHash) };
	if (row.of !== undefined) known.of = toBuffer(row.of);
	return known;
}

type ClaimedMeeting = Meeting & { claim: Claim };

async function meetingsOf(work: Work, holders: Claim[]): Promise<ClaimedMeeting[]> {
	const days = [...Map.groupBy(holders, ({ day }) => day)];
	return (await Promise.all(days.map(([day, ofDay]) => meetingsOfDay(work, day, ofDay)))).flat();
}

async function meetingsOfDay(work: Work, day: string, holders: Claim[]): Promise<ClaimedMeeting[]> {
	const [dayBefore, dayAfter] = [addDays(day, -1), addDays(day, 1)];
	const [before, after] = await Promise.all([rowsOn(work, dayBefore, holders), rowsAfter(work, dayAfter, holders)]);
	if (before.size === 0 && after.size === 0) return [];
	return holders.flatMap((claim) => {
		const later = after.get(nameOf(claim.row));
		const meeting = meetingOf(claim, before.get(nameOf(claim.row)), later && { row: later, day: dayAfter });
		return meeting === null ? [] : [{ ...meeting, claim }];
	});
}

/** A day without a collection has no keys; but a map read before our row was written does not know of one that was made since. */
async function rowsOn(work: Work, day: string, claims: Claim[]): Promise<Map<string, KeyRow>> {
	const { deps, map, shard } = work;
	const known = shardTarget(map, shard, keysOf(day));
	if (known !== null) return rowsIn(work, known, claims);
	await deps.routing.reload();
	const target = shardTarget(deps.routing.current, shard, keysOf(day));
	return target === null ? new Map() : rowsIn(work, target, claims);
}

/** Until midnight the day after has no keys at all, and to see that costs less than to ask for each. */
async function rowsAfter(work: Work, day: string, claims: Claim[]): Promise<Map<string, KeyRow>> {
	const target = shardTarget(work.map, work.shard, keysOf(day));
	const some = target && (await findIn(work.deps.clusters, target, {}, 1, { projection: { _id: 1 } }));
	return some?.length === 0 ? new Map() : rowsOn(work, day, claims);
}

/** A meeting and what stands in the loser's slot since; null when nothing will, because its month is over. */
interface Met {
	meeting: ClaimedMeeting;
	standing: Slot | null;
}

async function meet(work: Work, meetings: ClaimedMeeting[]): Promise<Met[]> {
	const months = Map.groupBy(meetings, ({ loser }) => monthOf(idTimeMs(loser.row.alarm)));
	const met = (await Promise.all([...months.values()].map((ofMonth) => meetInMonth(work, ofMonth)))).flat();
	for (const { meeting, standing } of met) {
		lose(work, meeting.claim, lossAfter(meeting, meeting.claim.row, standing));
	}
	return met;
}

async function meetInMonth(work: Work, meetings: ClaimedMeeting[]): Promise<Met[]> {
	const [first] = meetings;
	if (first === undefined) return [];
	const id = first.loser.row.alarm;
	const target = slotOf(work.map, id);
	if (target !== null) return (isArchived(target) ? meetInArchive : meetInSlots)(work, target, meetings);
	if (!slotIsComing(work.map, id, work.deps.nowMs())) return meetings.map((meeting) => ({ meeting, standing: null }));
	await work.deps.routing.reload().catch(() => undefined);
	return holdAll(work, meetings, "its rival's month has no collection yet");
}

function holdAll({ held }: Work, meetings: ClaimedMeeting[], why: string): [] {
	for (const { claim } of meetings) held.set(claim.decision, why);
	return [];
}

/** Nothing is put into an archived month: what does not stand there never will. */
async function meetInArchive(work: Work, target: Target, meetings: ClaimedMeeting[]): Promise<Met[]> {
	try {
		const ids = meetings.map(({ loser }) => loser.row.alarm);
		const found = await slotsIn(work, target, ids);
		return meetings.map((meeting) => ({
			meeting,
			standing: found.get(meeting.loser.row.alarm.toString("latin1")) ?? null,
		}));
	} catch (error) {
		// Of these alone: the shard's own cluster may be well.
		if (isArchiveUnavailable(error)) return holdAll(work, meetings, "its rival's archive does not answer");
		throw error;
	}
}

async function meetInSlots(work: Work, target: Target, meetings: ClaimedMeeting[]): Promise<Met[]> {
	const nowMs = work.deps.nowMs();
	meetings.sort((one, other) => one.loser.row.alarm.compare(other.loser.row.alarm));
	const slots = meetings.map((meeting) => tombstoneOf(meeting, meeting.claim.producer, nowMs));
	const results = await insertRows(work, target, slots);
	const duplicates = slots.filter((_, at) => results[at] === "duplicate").map(({ _id }) => _id);
	const found = await slotsIn(work, target, duplicates);
	return meetings.flatMap((meeting, at) => {
		const own = results[at] === "stored" ? slots[at] : undefined;
		const standing = own ?? found.get(meeting.loser.row.alarm.toString("latin1"));
		if (standing !== undefined) return [{ meeting, standing }];
		work.held.set(meeting.claim.decision, `its rival's slot answered: ${results[at]}`);
		return [];
	});
}

async function slotsIn({ deps }: Work, target: Target, ids: Buffer[]): Promise<Map<string, Slot>> {
	if (ids.length === 0) return new Map();
	// Not the alarms themselves, which may be large: what matters is who is none.
	const projection = { outcome: 1, of: 1 };
	const found = await findIn<Slot>(deps.clusters, target, { _id: { $in: ids } }, ids.length, { projection });
	return new Map(found.map((slot) => [slot._id.toString("latin1"), withBufferOf(slot)]));
}

/** The driver gives binaries inside of rows as its own Binary, which no Buffer compares itself with. */
function withBufferOf(slot: Slot): Slot {
	return isTombstone(slot) && slot.of !== undefined ? { ...slot, of: toBuffer(slot.of) } : slot;
}

/** Lets the rows of those that have lost say so. */
async function mark({ deps, map, shard }: Work, met: Met[]): Promise<void> {
	const settled = met.filter(({ meeting, standing }) => isSettled(meeting, standing));
	const days = Map.groupBy(settled, ({ meeting }) => meeting.loser.day);
	for (const [day, ofDay] of days) {
		const target = shardTarget(map, shard, keysOf(day));
		const updates = ofDay.map(({ meeting: { loser, winner } }) => ({
			q: { _id: loser.row._id, alarm: loser.row.alarm },
			u: { $set: { of: winner.alarm, bodyHash: winner.bodyHash } },
		}));
		if (target !== null) await updateAll(deps.clusters, target, updates);
	}
}
