import type { Collection, CollectionInfo, Document } from "mongodb";
import { movedName, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import type { TestShards } from "./shards.ts";

/** Everything that a shard holds on a cluster, byte by byte. */
export type RowsByName = Record<string, string[]>;

/** The rows of each collection that stands under its own name, in the order of their ids; those of the move itself are left out. */
export async function rowsOn(
	shards: TestShards,
	shard: number,
	cluster: string,
	nameOf = (name: string) => name,
): Promise<RowsByName> {
	const database = shards.cluster(cluster).db(shardDatabase(shard));
	const found: RowsByName = {};
	for (const { name } of (await database.listCollections({}, { nameOnly: true }).toArray()) as CollectionInfo[]) {
		const own = nameOf(name);
		if (movedName(own) !== null || own === "moves") continue;
		found[own] = await rawRows(database.collection(name));
	}
	return found;
}

/** As they are stored, in the order of their ids. */
export async function rawRows(collection: Collection): Promise<string[]> {
	const rows: Document[] = await collection.find({}, { raw: true, sort: { _id: 1 } }).toArray();
	return rows.map((bytes) => Buffer.from(bytes as Uint8Array).toString("base64"));
}

/** What a move has left behind counts under the name that it had. */
export function withoutLeft(name: string): string {
	const moved = movedName(name);
	return moved?.kind === "retained_move" ? moved.name : name;
}
