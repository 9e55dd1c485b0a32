import type { Document } from "mongodb";
import type { RoutingMap } from "../contracts/routing.ts";
import { alarmsOf, SHARD_HOLDINGS } from "../domain/holdings.ts";
import { type IdRange, shardOf, userHash, userRange } from "../domain/ids.ts";
import {
	chunkSize,
	type Draft,
	EMPTY_DRAFT,
	extend,
	monthsInside,
	type PageRequest,
	pageRange,
	pageWindow,
} from "../domain/paging.ts";
import { categoriesAhead, NOTHING_READ, type ReadState } from "../domain/read-state.ts";
import { monthsHeld, shardTarget, slotOf, type Target } from "../domain/routing.ts";
import type { AlarmRow, FailureRow, Slot } from "../domain/rows.ts";
import type { Clusters } from "./clusters.ts";
import { findIn, updateOne } from "./shard-command.ts";
import { loadReadState, userTarget } from "./user-state.ts";

/** Reads and marks of one customer's inbox. Every read is one bounded range scan per month that it touches. */

/** The months of a customer's shard that overlap a stretch of time, newest first. */
export function targetsFor(map: RoutingMap, userId: string, fromMs: number, toMs: number): Target[] {
	const shard = shardOf(userHash(userId), map.shards.length);
	return monthsInside(monthsHeld(map, shard), fromMs, toMs)
		.map((month) => shardTarget(map, shard, alarmsOf(month)))
		.filter((target) => target !== null);
}

function inRange({ low, high }: IdRange, userId: string): Document {
	return { _id: { $gte: low, $lte: high }, userId };
}

/** A page and what its owner has read; both at once, unless the page is chosen by what is read. */
export async function readInbox(
	clusters: Clusters,
	map: RoutingMap,
	request: PageRequest,
): Promise<Draft & { state: ReadState }> {
	const loading = loadReadState(clusters, userTarget(map, request.userId), request.userId);
	if (request.read !== undefined) {
		const state = await loading;
		return { ...(await readPage(clusters, map, request, state)), state };
	}
	const [state, draft] = await Promise.all([loading, readPage(clusters, map, request, NOTHING_READ)]);
	return { ...draft, state };
}

/** Newest month first and on to older ones, until the page is full or its budget is used. */
async function readPage(clusters: Clusters, map: RoutingMap, request: PageRequest, state: ReadState): Promise<Draft> {
	let draft = EMPTY_DRAFT;
	const { fromMs, toMs } = pageWindow(request);
	for (const target of targetsFor(map, request.userId, fromMs, toMs)) {
		draft = await scanMonth(clusters, target, request, state, draft);
		if (draft.stopped) break;
	}
	return draft;
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
		const chunk = await findRows(clusters, target, pageRange({ ...request, after }), request.userId, limit);
		made = extend(made, chunk, request, state);
		if (made.stopped || chunk.length < limit) return made;
	}
}

/** One bounded scan in storage order, newest first. */
export function findRows(
	clusters: Clusters,
	target: Target,
	range: IdRange,
	userId: string,
	limit: number,
): Promise<AlarmRow[]> {
	return findIn<AlarmRow>(clusters, target, inRange(range, userId), limit, { sort: { _id: 1 } });
}

export async function findAlarm(
	clusters: Clusters,
	map: RoutingMap,
	userId: string,
	id: Buffer,
): Promise<AlarmRow | null> {
	const target = slotOf(map, id);
	if (target === null) return null;
	const [row] = await findIn<AlarmRow>(clusters, target, { _id: id, userId, hidden: { $ne: true } }, 1);
	return row ?? null;
}

/** The slot of an id, whatever stands in it; null when it is free or its month is gone. */
export async function findSlot(clusters: Clusters, map: RoutingMap, id: Buffer): Promise<Slot | null> {
	const target = slotOf(map, id);
	if (target === null) return findClosed(clusters, map, id);
	const [slot] = await findIn<Slot>(clusters, target, { _id: id }, 1);
	return slot ?? null;
}

/** What the failures say of an id whose month has no collection, and so no slot. */
async function findClosed(clusters: Clusters, map: RoutingMap, id: Buffer): Promise<Slot | null> {
	const failures = shardTarget(map, shardOf(id, map.shards.length), SHARD_HOLDINGS.failures.kind);
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

/** Categories of the unread alarms between `fromMs` and now, newest first, at most `limit`. */
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
