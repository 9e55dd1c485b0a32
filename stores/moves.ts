import { randomUUID } from "node:crypto";
import type { Timestamp } from "mongodb";
import type { RoutingMap } from "../contracts/routing.ts";
import { SHARD_HOLDINGS } from "../domain/holdings.ts";
import { shardTarget, type Target } from "../domain/routing.ts";
import type { Clusters } from "./clusters.ts";
import { deleteOne, findIn, updateOne } from "./shard-command.ts";

/** What is kept of a copy that is being made, beside its source: from when on its changes have to be read. */
export interface MoveRow {
	/** Name of the source. */
	_id: string;
	/** UUID of the source: a copy of another one is worth nothing. */
	source: string;
	since: Timestamp;
	/** Written again and again, and looked for among the changes. */
	marker: string;
	/** The archive cluster that the copy lies on: it stays there, also when there are more or fewer of them by the next attempt. */
	to: string;
	/** UUID of the copy that holds everything older. */
	copy: string;
}

/** Where the rows of a shard's moves lie. */
export function movesOf(map: RoutingMap, shard: number): Target {
	const target = shardTarget(map, shard, SHARD_HOLDINGS.moves.kind);
	if (target === null) throw new Error(`shard ${shard} has no collection of moves yet; its router makes it`);
	return target;
}

export async function readMove(clusters: Clusters, moves: Target, source: Target): Promise<MoveRow | null> {
	const [row] = await findIn<MoveRow>(clusters, moves, { _id: source.collection, source: source.uuid }, 1);
	return row ?? null;
}

/**
 * Begins anew, from now on. The moment is asked for before the row is written with a majority: what happened before it is then safe on a
 * majority, and read by the copy; what happens from it on is among the changes.
 */
export async function beginMove(clusters: Clusters, moves: Target, source: Target, copy: Target): Promise<MoveRow> {
	const { operationTime } = await clusters.at(source.cluster).command("admin", { ping: 1 });
	const sides = { source: source.uuid, to: copy.cluster, copy: copy.uuid };
	const row = { _id: source.collection, ...sides, since: operationTime as Timestamp, marker: "" };
	await put(clusters, moves, row);
	return row;
}

/** Writes a marker that was never written before, and tells it. */
export async function writeMarker(clusters: Clusters, moves: Target, row: MoveRow): Promise<string> {
	const marker = randomUUID();
	await put(clusters, moves, { ...row, marker });
	return marker;
}

export function endMove(clusters: Clusters, moves: Target, source: Target): Promise<void> {
	return deleteOne(clusters, moves, { _id: source.collection });
}

async function put(clusters: Clusters, moves: Target, row: MoveRow): Promise<void> {
	const { _id, ...rest } = row;
	await updateOne(clusters, moves, { _id }, rest, true);
}
