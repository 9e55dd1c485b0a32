import { randomUUID } from "node:crypto";
import type { Timestamp } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { SHARD_CATALOG } from "../../domain/routing/collection-catalog.ts";
import { shardTarget, type Target } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { deleteOne, findIn, updateOne } from "../mongo/commands.ts";
import { CopyGone } from "../mongo/rename-collection.ts";

/** What is kept of a copy that is being made, beside its source: from when on its changes have to be read. */
export interface MoveRow {
	/** Name of the source. */
	_id: string;
	/** UUID of the source: a copy of another one is worth nothing. */
	source: string;
	since: Timestamp;
	/** Written again and again, and looked for among the changes. */
	marker: string;
	/** The cluster that the copy lies on: it stays there, also when there are more or fewer archive clusters by the next attempt. */
	to: string;
	/** Of a month: UUID of the copy that holds everything older. */
	copy?: string;
	/** Of a whole shard: UUIDs of the copies that hold everything older, by the name of their source. */
	copies?: Readonly<Record<string, string>>;
	/** Of a whole shard: the copies are about to get, or have got, their final names. */
	finishing?: boolean;
}

/** The row of a move of the whole shard. */
export const WHOLE_SHARD = "shard";

/** Where the rows of a shard's moves lie. */
export function movesOf(map: RoutingMap, shard: number): Target {
	const target = shardTarget(map, shard, SHARD_CATALOG.moves.kind);
	if (target === null) throw new Error(`shard ${shard} has no collection of moves yet; its router makes it`);
	return target;
}

/** What is moved: a month, by its name and UUID; or the whole shard. */
export type Moved = Pick<MoveRow, "_id" | "source" | "to" | "copy" | "copies">;

export async function readMove(
	clusters: Clusters,
	moves: Target,
	{ _id, source }: Pick<MoveRow, "_id" | "source">,
): Promise<MoveRow | null> {
	const [row] = await findIn<MoveRow>(clusters, moves, { _id, source }, 1);
	return row ?? null;
}

/**
 * Begins a copy anew and writes its progress row. The server is asked for its operation time first, and the row is then written with a
 * majority. Every change before that time is majority-committed when the copy reads, so the copy contains it. Every change from that time
 * on is read from the change stream.
 */
export async function beginMove(clusters: Clusters, moves: Target, moved: Moved): Promise<MoveRow> {
	const { operationTime } = await clusters.at(moves.cluster).command("admin", { ping: 1 });
	const row = { ...moved, since: operationTime as Timestamp, marker: "" };
	await put(clusters, moves, row);
	return row;
}

/** Goes on from the moment of an earlier attempt, with these copies: some of its, and empty ones. */
export async function goOnWithMove(
	clusters: Clusters,
	moves: Target,
	begun: MoveRow,
	copies: Required<MoveRow>["copies"],
): Promise<MoveRow> {
	const row = { ...begun, copies };
	await putAgain(clusters, moves, row);
	return row;
}

/** Says beforehand that the copies will have their final names: whoever goes on must know them for copies. */
export function announceFinish(clusters: Clusters, moves: Target, row: MoveRow): Promise<void> {
	row.finishing = true;
	return putAgain(clusters, moves, row);
}

/** Writes a marker that was never written before, and tells it. */
export async function writeMarker(clusters: Clusters, moves: Target, row: MoveRow): Promise<string> {
	const marker = randomUUID();
	await putAgain(clusters, moves, { ...row, marker });
	return marker;
}

export function endMove(clusters: Clusters, moves: Target, _id: string): Promise<void> {
	return deleteOne(clusters, moves, { _id });
}

async function put(clusters: Clusters, moves: Target, { _id, ...rest }: MoveRow): Promise<void> {
	await updateOne(clusters, moves, { _id }, rest, true);
}

/** A move that was given up, or settled by another, does not come back. @throws {CopyGone} */
async function putAgain(clusters: Clusters, moves: Target, { _id, ...rest }: MoveRow): Promise<void> {
	if (!(await updateOne(clusters, moves, { _id }, rest))) throw new CopyGone(`the row of ${_id}`);
}
