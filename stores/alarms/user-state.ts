import type { Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { shardOf, userHash, userKey } from "../../domain/alarms/ids.ts";
import { MAX_UNREAD_MARKS, NOTHING_READ, type ReadState } from "../../domain/alarms/read-state.ts";
import { SHARD_CATALOG } from "../../domain/routing/collection-catalog.ts";
import { shardTarget, type Target } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { findIn, toBuffer, updateOne } from "../mongo/commands.ts";

/** One customer's row: watermarks of what is read, and single alarms marked unread behind them. */
export interface UserRow {
	_id: Buffer;
	userId: string;
	readAll?: Date;
	readCategories?: Record<string, Date>;
	unread?: { id: Uint8Array; category: string }[];
}

export function userTarget(map: RoutingMap, userId: string): Target {
	const target = shardTarget(map, shardOf(userHash(userId), map.shards.length), SHARD_CATALOG.users.kind);
	if (target === null) throw new Error("the routing map has no collection of users");
	return target;
}

export async function loadReadState(clusters: Clusters, target: Target, userId: string): Promise<ReadState> {
	const [row] = await findIn<UserRow>(clusters, target, userFilter(userId), 1);
	return toReadState(row);
}

export function userFilter(userId: string): Document {
	return { _id: userKey(userId), userId };
}

export function toReadState(row: UserRow | undefined): ReadState {
	if (row === undefined) return NOTHING_READ;
	const categories = Object.entries(row.readCategories ?? {});
	return {
		allBeforeMs: row.readAll?.getTime() ?? -1,
		categoryBeforeMs: Object.fromEntries(categories.map(([category, before]) => [category, before.getTime()])),
		unread: (row.unread ?? []).map(({ id, category }) => ({ id: toBuffer(id), category })),
	};
}

/** Moves the watermark of all, or of one category; never back. Marks behind it are done with: `covered` are their ids. */
export async function moveWatermark(
	clusters: Clusters,
	target: Target,
	userId: string,
	mark: { category?: string; beforeMs: number; covered: Buffer[] },
): Promise<void> {
	const field = mark.category === undefined ? "readAll" : `readCategories.${mark.category}`;
	const update: Document = { $max: { [field]: new Date(mark.beforeMs) }, $setOnInsert: { userId } };
	if (mark.covered.length > 0) update.$pull = { unread: { id: { $in: mark.covered } } };
	await updateOne(clusters, target, { _id: userKey(userId) }, update, true);
}

/** Marks one alarm behind a watermark unread. False when there are too many such marks already. */
export async function addUnreadMark(
	clusters: Clusters,
	target: Target,
	userId: string,
	id: Buffer,
	category: string,
): Promise<boolean> {
	const unread = { $ifNull: ["$unread", []] };
	const isMarked = { $in: [id, { $map: { input: unread, in: "$$this.id" } }] };
	const hasRoom = { $lt: [{ $size: unread }, MAX_UNREAD_MARKS] };
	// One condition, one write: two requests at once can neither double the mark nor pass the limit.
	const filter = { _id: userKey(userId), $expr: { $or: [isMarked, hasRoom] } };
	const marked = { $cond: [isMarked, unread, { $concatArrays: [unread, [{ id, category: { $literal: category } }]] }] };
	return updateOne(clusters, target, filter, [{ $set: { unread: marked } }]);
}

export async function dropUnreadMark(clusters: Clusters, target: Target, userId: string, id: Buffer): Promise<void> {
	await updateOne(clusters, target, { _id: userKey(userId) }, { $pull: { unread: { id } } });
}
