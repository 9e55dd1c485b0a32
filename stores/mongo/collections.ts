import { type Document, MongoServerError, UUID } from "mongodb";
import { MOVED } from "../../domain/alarms/write-results.ts";
import type { CatalogEntry } from "../../domain/routing/collection-catalog.ts";
import type { Cluster } from "./cluster.ts";

/** The only place where collections are made: an insert into a missing month would quietly make an ordinary one. */

const NAMESPACE_NOT_FOUND = 26;
const NAMESPACE_EXISTS = 48;

/** Whoever carries out commands on a cluster. */
type Commanding = Pick<Cluster, "name" | "command">;

/** Makes the collection if it is not there, and tells its UUID (hex). */
export async function ensureCollection(
	cluster: Commanding,
	database: string,
	name: string,
	entry: CatalogEntry,
): Promise<string> {
	try {
		await cluster.command(database, createCommand(name, entry));
	} catch (error) {
		if (!(error instanceof MongoServerError && error.code === NAMESPACE_EXISTS)) throw error;
	}
	const uuid = await uuidOf(cluster, database, name);
	await ensureIndexes(cluster, database, name, uuid, entry);
	return uuid;
}

/** Makes the indexes of a collection, also of one that was there before they were thought of. There already is as good. */
export async function ensureIndexes(
	cluster: Commanding,
	database: string,
	name: string,
	uuid: string,
	{ indexes = [] }: CatalogEntry,
): Promise<void> {
	if (indexes.length === 0) return;
	// With the UUID: without it, a collection that is gone would be made again, and an ordinary one.
	await cluster.command(database, { createIndexes: name, indexes, collectionUUID: uuidBinary(uuid) });
}

function createCommand(name: string, { engine }: CatalogEntry): Document {
	const command = { create: name, clusteredIndex: { key: { _id: 1 }, unique: true } };
	return engine === null ? command : { ...command, storageEngine: { wiredTiger: { configString: engine } } };
}

async function uuidOf(cluster: Commanding, database: string, name: string): Promise<string> {
	const reply = await cluster.command(database, { listCollections: 1, filter: { name } });
	const [found] = reply.cursor.firstBatch as { info: { uuid: UUID }; options: { clusteredIndex?: unknown } }[];
	if (found === undefined) throw new Error(`${database}.${name} on ${cluster.name} vanished while it was being made`);
	if (found.options.clusteredIndex === undefined) {
		throw new Error(
			`${database}.${name} on ${cluster.name} is an ordinary collection where a clustered one must be: rename it away`,
		);
	}
	return found.info.uuid.toString("hex");
}

/** A collection as its database lists it. */
export interface Listed {
	name: string;
	uuid: string;
	options: Document;
}

/** All collections of a database, views left out. Far fewer than come in one batch. */
export async function listCollections(cluster: Cluster, database: string): Promise<Listed[]> {
	const reply = await cluster.read(database, { listCollections: 1, cursor: { batchSize: 1_000 } });
	const found = reply.cursor.firstBatch as { name: string; type: string; options: Document; info: { uuid: UUID } }[];
	const real = found.filter(({ type }) => type === "collection");
	return real.map(({ name, options, info }) => ({ name, options, uuid: info.uuid.toString("hex") }));
}

/** Whether the collection rejects writes, by whichever fence. */
export function isFenced({ options: { validator } }: Listed): boolean {
	return validator !== undefined && Object.keys(validator).length > 0;
}

/** Whether an answer says that no collection of this name has this UUID (any more). */
export function isGone(error: unknown): boolean {
	return error instanceof MongoServerError && (error.code === NAMESPACE_NOT_FOUND || error.code === MOVED);
}

/** Whether the collection holds anything; one that is gone holds nothing. */
export async function holdsRows(
	cluster: Cluster,
	database: string,
	{ name, uuid }: Pick<Listed, "name" | "uuid">,
): Promise<boolean> {
	const find = { find: name, limit: 1, singleBatch: true, projection: { _id: 1 }, collectionUUID: uuidBinary(uuid) };
	try {
		return (await cluster.read(database, find)).cursor.firstBatch.length > 0;
	} catch (error) {
		if (isGone(error)) return false;
		throw error;
	}
}

/** Drops the collection if it still is the one with this UUID; gone already is as good. */
export async function dropCollection(cluster: Commanding, database: string, name: string, uuid: string): Promise<void> {
	try {
		await cluster.command(database, { drop: name, collectionUUID: uuidBinary(uuid) });
	} catch (error) {
		if (!isGone(error)) throw error;
	}
}

const known = new Map<string, UUID>();
/** A UUID as commands take it. Kept, because every hot-path command needs one of a few. */
export function uuidBinary(hex: string): UUID {
	const kept = known.get(hex) ?? new UUID(hex);
	known.set(hex, kept);
	return kept;
}
