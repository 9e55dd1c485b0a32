import type { Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { type IdRange, shardOf, userHash, userRange } from "../../domain/alarms/ids.ts";
import {
	chunkSize,
	type Draft,
	EMPTY_DRAFT,
	endBefore,
	extend,
	monthsInside,
	type PageRequest,
	pageRange,
	pageWindow,
} from "../../domain/alarms/paging.ts";
import { categoriesAhead, NOTHING_READ, type ReadState } from "../../domain/alarms/read-state.ts";
import type { AlarmRow, FailureRow, Slot } from "../../domain/alarms/rows.ts";
import { alarmsOf, monthOfCollection, SHARD_CATALOG } from "../../domain/routing/collection-catalog.ts";
import { isArchived, monthsPresent, shardTarget, slotOf, type Target } from "../../domain/routing/routing.ts";
import { archiveUnavailable, isArchiveUnavailable } from "../mongo/archive-breaker.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { aggregateIn, findIn, updateOne } from "../mongo/commands.ts";
import { loadReadState, toReadState, type UserRow, userFilter, userTarget } from "./user-state.ts";

/** Reads and marks of one customer's inbox. Every read is one bounded range scan per month that it touches. */

/** The months of a customer's shard that overlap a stretch of time, newest first. */
function targetsFor(map: RoutingMap, userId: string, fromMs: number, toMs: number): Target[] {
	const shard = shardOf(userHash(userId), map.shards.length);
	return monthsInside(monthsPresent(map, shard), fromMs, toMs)
		.map((month) => shardTarget(map, shard, alarmsOf(month)))
		.filter((target) => target !== null);
}

function inRange({ low, high }: IdRange, userId: string): Document {
	return { _id: { $gte: low, $lte: high }, userId };
}

/** Rows of one scan; null when they lie in an archive that does not answer. */
type Chunk = AlarmRow[] | null;

/**
 * A page and what its owner has read. Newest month first and on to older ones, until the page is full or its budget is used. It ends
 * where the archive does not answer. @throws {Fault} ARCHIVE_UNAVAILABLE when it begins there.
 */
export async function readInbox(
	clusters: Clusters,
	map: RoutingMap,
	request: PageRequest,
): Promise<Draft & { state: ReadState }> {
	const { fromMs, toMs } = pageWindow(request);
	const [newest, ...older] = targetsFor(map, request.userId, fromMs, toMs);
	if (newest === undefined) return { ...EMPTY_DRAFT, state: NOTHING_READ };
	const limit = chunkSize(request, 0, 0);
	const { chunk, state } = await firstChunk(clusters, map, newest, request, limit);
	let draft = addChunk(EMPTY_DRAFT, chunk, newest, request, state);
	if (chunk?.length === limit && !draft.stopped) draft = await scanMonth(clusters, newest, request, state, draft);
	for (const target of older) {
		if (draft.stopped) break;
		draft = await scanMonth(clusters, target, request, state, draft);
	}
	return { ...draft, state };
}

/** An archived month lies apart from its owner's marks; with any other they come along. */
async function firstChunk(
	clusters: Clusters,
	map: RoutingMap,
	target: Target,
	request: PageRequest,
	limit: number,
): Promise<{ chunk: Chunk; state: ReadState }> {
	if (!isArchived(target)) return chunkWithMarks(clusters, map, target, request, limit);
	const [chunk, state] = await Promise.all([
		findChunk(clusters, target, request, limit),
		loadReadState(clusters, userTarget(map, request.userId), request.userId),
	]);
	return { chunk, state };
}

/** In one command: on the page's way the command, not the server, is what costs. */
async function chunkWithMarks(
	clusters: Clusters,
	map: RoutingMap,
	target: Target,
	request: PageRequest,
	limit: number,
): Promise<{ chunk: AlarmRow[]; state: ReadState }> {
	const { userId } = request;
	const found = await aggregateIn<AlarmRow | UserRow>(clusters, target, limit + 1, [
		{ $match: inRange(pageRange(request), userId) },
		{ $sort: { _id: 1 } },
		{ $limit: limit },
		{ $unionWith: { coll: userTarget(map, userId).collection, pipeline: [{ $match: userFilter(userId) }] } },
	]);
	const chunk = found.filter((row): row is AlarmRow => "title" in row);
	return { chunk, state: toReadState(found.find((row): row is UserRow => !("title" in row))) };
}

async function scanMonth(
	clusters: Clusters,
	target: Target,
	request: PageRequest,
	state: ReadState,
	draft: Draft,
): Promise<Draft> {
	for (let made = draft; ; ) {
		const after = made.lastScanned ?? request.after;
		const limit = chunkSize(request, made.rows.length, made.scanned);
		const chunk = await findChunk(clusters, target, { ...request, after }, limit);
		made = addChunk(made, chunk, target, request, state);
		if (made.stopped || chunk === null || chunk.length < limit) return made;
	}
}

function addChunk(draft: Draft, chunk: Chunk, target: Target, request: PageRequest, state: ReadState): Draft {
	if (chunk !== null) return extend(draft, chunk, request, state);
	const ended = endBefore(monthOfCollection(target.collection) ?? "", draft, request);
	if (ended === null) throw archiveUnavailable(target.cluster);
	return ended;
}

async function findChunk(clusters: Clusters, target: Target, request: PageRequest, limit: number): Promise<Chunk> {
	try {
		return await findRows(clusters, target, pageRange(request), request.userId, limit);
	} catch (error) {
		if (isArchiveUnavailable(error)) return null;
		throw error;
	}
}

/** One bounded scan in storage order, newest first. */
function findRows(
	clusters: Clusters,
	target: Target,
	range: IdRange,
	userId: string,
	limit: number,
): Promise<AlarmRow[]> {
	return findIn<AlarmRow>(clusters, target, inRange(range, userId), limit, { sort: { _id: 1 } });
}

/** An alarm of the customer that was not hidden. */
export async function findAlarm(
	clusters: Clusters,
	map: RoutingMap,
	userId: string,
	id: Buffer,
): Promise<AlarmRow | null> {
	const row = await findEvenHidden(clusters, map, userId, id);
	return row?.hidden ? null : row;
}

/** An alarm of the customer, hidden or not. */
export async function findEvenHidden(
	clusters: Clusters,
	map: RoutingMap,
	userId: string,
	id: Buffer,
): Promise<AlarmRow | null> {
	const target = slotOf(map, id);
	if (target === null) return null;
	const [row] = await findIn<AlarmRow>(clusters, target, { _id: id, userId }, 1);
	return row ?? null;
}

/** The slot of an id, whatever stands in it, or what its failure says; null when it is free or its month is gone. */
export async function findSlot(clusters: Clusters, map: RoutingMap, id: Buffer): Promise<Slot | null> {
	const target = slotOf(map, id);
	if (target === null) return findClosed(clusters, map, id);
	const [slot] = await findIn<Slot>(clusters, target, { _id: id }, 1);
	return slot ?? (isArchived(target) ? findClosed(clusters, map, id) : null);
}

/** What the failures say of an id that can have no slot any more, because its month is gone or archived. */
async function findClosed(clusters: Clusters, map: RoutingMap, id: Buffer): Promise<Slot | null> {
	const failures = shardTarget(map, shardOf(id, map.shards.length), SHARD_CATALOG.failures.kind);
	if (failures === null) return null;
	const [row] = await findIn<FailureRow>(clusters, failures, { _id: id }, 1);
	if (row === undefined) return null;
	const { code, message, producer, failedAt } = row;
	return {
		_id: id,
		outcome: "failed",
		why: { code, message },
		at: failedAt,
		...(producer !== undefined && { producer }),
	};
}

/** Categories of the unread alarms between `fromMs` and now, newest first, at most `limit`. What is archived does not count. */
export async function findUnread(
	clusters: Clusters,
	map: RoutingMap,
	userId: string,
	state: ReadState,
	{ fromMs, nowMs, limit }: { fromMs: number; nowMs: number; limit: number },
): Promise<string[]> {
	const since = Math.max(fromMs, state.allBeforeMs + 1);
	const filter = unreadFilter(userId, state, since, nowMs);
	const found: string[] = [];
	for (const target of targetsFor(map, userId, since, nowMs)) {
		if (isArchived(target)) continue;
		if (found.length >= limit) break;
		const rows = await findIn<{ category: string }>(clusters, target, filter, limit - found.length, {
			projection: { _id: 0, category: 1 },
		});
		found.push(...rows.map(({ category }) => category));
	}
	return found;
}

function unreadFilter(userId: string, state: ReadState, since: number, nowMs: number): Document {
	const filter: Document = {
		...inRange(userRange(userId, since, nowMs), userId),
		readAt: { $exists: false },
		hidden: { $ne: true },
	};
	const read = categoriesAhead(state).map(([category, beforeMs]) => ({
		category,
		_id: { $gte: userRange(userId, 0, beforeMs).low },
	}));
	return read.length === 0 ? filter : { ...filter, $nor: read };
}

/** Changes one alarm of the customer. False when the inbox has no such alarm. */
export function changeAlarm(
	clusters: Clusters,
	target: Target,
	userId: string,
	id: Buffer,
	change: Document[],
): Promise<boolean> {
	return updateOne(clusters, target, { _id: id, userId, hidden: { $ne: true } }, change);
}

/** Hides one alarm of the customer; hidden before is as good. False when there never was such an alarm. */
export function hideRow(clusters: Clusters, target: Target, userId: string, id: Buffer): Promise<boolean> {
	return updateOne(clusters, target, { _id: id, userId }, [{ $set: { hidden: true } }]);
}

/** Keeps the first moment of reading, so that a repeated request changes nothing. */
export function setRead(nowMs: number): Document[] {
	return [{ $set: { readAt: { $ifNull: ["$readAt", new Date(nowMs)] } } }];
}
export const SET_UNREAD: Document[] = [{ $unset: "readAt" }];
