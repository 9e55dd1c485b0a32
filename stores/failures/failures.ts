import type { Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import {
	countThatFits,
	type FailurePosition,
	type FailureRequest,
	type ListedFailure,
	mergeFailures,
} from "../../domain/alarms/failures.ts";
import { shardOf, userHash, userRange } from "../../domain/alarms/ids.ts";
import type { FailureRow } from "../../domain/alarms/rows.ts";
import { SHARD_CATALOG } from "../../domain/routing/collection-catalog.ts";
import { shardTarget, type Target } from "../../domain/routing/routing.ts";
import { inTime, TooLate } from "../../lib/timeout.ts";
import { isUnavailable, READ_MS } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { deleteOne, findIn, updateOne } from "../mongo/commands.ts";

/** The failures of all shards as one list, and single ones by their id. */

export interface FailureList {
	rows: ListedFailure[];
	/** True when there are more after the last row. */
	more: boolean;
	/** Clusters that did not answer: what lies there is missing. */
	unavailable: string[];
}

/** Newest first over all shards: one bounded find each. A cluster that does not answer is named, and holds up nobody. */
export async function listFailures(
	clusters: Clusters,
	map: RoutingMap,
	request: FailureRequest,
	known: readonly string[] = [],
): Promise<FailureList> {
	const all = Map.groupBy(targetsOf(map, request), ({ cluster }) => cluster);
	const asked = [...all].filter(([cluster]) => !known.includes(cluster));
	const found = await Promise.all(asked.map(([, targets]) => findOnCluster(clusters, targets, request)));
	const silent = asked.filter((_, at) => found[at] === null).map(([cluster]) => cluster);
	const lists = found.filter((rows) => rows !== null).flat();
	return { ...mergeFailures(lists, request.limit), unavailable: [...known, ...silent] };
}

/** Of a long list: how many rows at most, how many bytes in an answer, and when to stop in any case. */
interface ExportLimits {
	rows: number;
	bytes: number;
	endMs: number;
}

const EXPORT_PAGE = 1_000;

/** Page after page into one long list, until it is at its end or at a limit. */
export async function listManyFailures(
	clusters: Clusters,
	map: RoutingMap,
	request: FailureRequest,
	limits: ExportLimits,
): Promise<FailureList> {
	const rows: ListedFailure[] = [];
	let list: FailureList = { rows, more: true, unavailable: [] };
	while (list.more && rows.length < limits.rows && Date.now() < limits.endMs) {
		const limit = Math.min(EXPORT_PAGE, limits.rows - rows.length);
		list = await listFailures(
			clusters,
			map,
			{ ...request, limit, after: positionAfter(rows, request) },
			list.unavailable,
		);
		rows.push(...list.rows);
	}
	const count = countThatFits(rows, limits.bytes);
	return { ...list, rows: rows.slice(0, count), more: list.more || count < rows.length };
}

function positionAfter(rows: ListedFailure[], request: FailureRequest): FailurePosition | null {
	const last = rows.at(-1);
	return last === undefined ? request.after : { failedAtMs: last.failedAt.getTime(), id: last._id };
}

/** The shards that can hold what is asked for: a customer's failures lie in its own. */
function targetsOf(map: RoutingMap, { userId }: FailureRequest): Target[] {
	const shards =
		userId === undefined ? map.shards.map((_, shard) => shard) : [shardOf(userHash(userId), map.shards.length)];
	return shards.map((shard) => failuresOf(map, shard)).filter((target) => target !== null);
}

function failuresOf(map: RoutingMap, shard: number): Target | null {
	return shardTarget(map, shard, SHARD_CATALOG.failures.kind);
}

/** Null when the cluster does not answer, or not in time: a frozen one would cost the driver's 5 s. */
async function findOnCluster(
	clusters: Clusters,
	targets: Target[],
	request: FailureRequest,
): Promise<ListedFailure[][] | null> {
	try {
		return await inTime(Promise.all(targets.map((target) => findNewest(clusters, target, request))), READ_MS);
	} catch (error) {
		if (error instanceof TooLate || isUnavailable(error)) return null;
		throw error;
	}
}

function findNewest(clusters: Clusters, target: Target, request: FailureRequest): Promise<ListedFailure[]> {
	// One more than is asked for: so that the end is seen.
	return findIn<ListedFailure>(clusters, target, filterOf(request), request.limit + 1, {
		sort: { failedAt: -1, _id: -1 },
		projection: { item: 0 },
		// Ids begin with the customer: its failures lie side by side. Left alone, the planner never takes the clustered tree.
		...(request.userId !== undefined && { hint: { _id: 1 } }),
	});
}

const NOT_FORGOTTEN = { forgotten: { $exists: false } };
const OPEN = { ...NOT_FORGOTTEN, discarded: { $exists: false } };

function filterOf({ producer, code, userId, fromMs, toMs, discarded, after }: FailureRequest): Document {
	return {
		...NOT_FORGOTTEN,
		...(producer !== undefined && { producer }),
		...(code !== undefined && { code }),
		...(userId !== undefined && { userId, _id: idsOf(userId) }),
		...(!discarded && { discarded: { $exists: false } }),
		...(fromMs !== undefined || toMs !== undefined ? { failedAt: between(fromMs, toMs) } : {}),
		...(after !== null && { $or: behind(after) }),
	};
}

function idsOf(userId: string): Document {
	const { low, high } = userRange(userId, 0, Number.MAX_SAFE_INTEGER);
	return { $gte: low, $lte: high };
}

function between(fromMs = 0, toMs?: number): Document {
	return { $gte: new Date(fromMs), ...(toMs !== undefined && { $lte: new Date(toMs) }) };
}

/** Two ranges of the index, which the server merges: it never reads what came before the cursor. */
function behind({ failedAtMs, id }: FailurePosition): Document[] {
	const failedAt = new Date(failedAtMs);
	return [{ failedAt: { $lt: failedAt } }, { failedAt, _id: { $lt: id } }];
}

/** The target of the failures among which an id has its row. @throws when the map has none. */
function failureTarget(map: RoutingMap, id: Buffer): Target {
	const target = failuresOf(map, shardOf(id, map.shards.length));
	if (target === null) throw new Error("the routing map has no collection of failures for this shard");
	return target;
}

export async function findFailure(clusters: Clusters, map: RoutingMap, id: Buffer): Promise<FailureRow | null> {
	const [row] = await findIn<FailureRow>(clusters, failureTarget(map, id), { _id: id, ...NOT_FORGOTTEN }, 1);
	return row ?? null;
}

/** Failed again: the row tells the newest cause, as its slot does. Gone or discarded meanwhile stays so. */
export async function renewFailure(
	clusters: Clusters,
	map: RoutingMap,
	{ _id, code, message, failedAt }: Pick<FailureRow, "_id" | "code" | "message" | "failedAt">,
): Promise<void> {
	const change = { $set: { code, message, failedAt } };
	await updateOne(clusters, failureTarget(map, _id), { _id, ...OPEN }, change);
}

/**
 * Once its slot says something else than failed. A row that was discarded meanwhile keeps who and why. A fence stops updates, but no
 * deletes: a row that is deleted behind the last look of a move would stand again at the new place, and does so unseen.
 */
export async function forgetFailure(clusters: Clusters, map: RoutingMap, _id: Buffer): Promise<void> {
	const target = failureTarget(map, _id);
	if (await updateOne(clusters, target, { _id, ...OPEN }, { $set: { forgotten: true } }))
		await deleteOne(clusters, target, { _id });
}

/** Gives a failure up. The discard that stands then, which is the first one; null when there is no such failure. */
export async function discardFailure(
	clusters: Clusters,
	map: RoutingMap,
	_id: Buffer,
	discarded: NonNullable<FailureRow["discarded"]>,
): Promise<NonNullable<FailureRow["discarded"]> | null> {
	const change = { $set: { discarded } };
	if (await updateOne(clusters, failureTarget(map, _id), { _id, ...OPEN }, change)) return discarded;
	return (await findFailure(clusters, map, _id))?.discarded ?? null;
}
