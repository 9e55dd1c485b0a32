import { MongoServerError, type UUID } from "mongodb";
import { ARCHIVE_HOLDINGS, alarmsOf, archiveDatabase, copyOf, holdingOf } from "../domain/holdings.ts";
import type { Month } from "../domain/periods.ts";
import type { Target } from "../domain/routing.ts";
import type { Cluster } from "./cluster.ts";
import { dropCollection, ensureCollection, uuidBinary } from "./collections.ts";
import { MAJORITY } from "./documents.ts";

/**
 * The copy of a month on its archive cluster while it is being made. Its name ends with the epoch of whoever fills it: taking it over
 * renames it, and from then on every late command of an earlier filler, which carries name and UUID, is answered 361.
 */

const NAMESPACE_NOT_FOUND = 26;
const TRIES = 5;

export interface CopyPlace {
	cluster: Cluster;
	shard: number;
	month: Month;
}

/** The copy that an earlier attempt has left, under our epoch's name now; null when there is none. */
export async function takeOverCopy(place: CopyPlace, epoch: number): Promise<Target | null> {
	for (let tries = 1; ; tries++) {
		const [newest, ...older] = await copiesOf(place);
		if (newest === undefined) return null;
		await dropAll(place, older);
		const collection = copyOf(place.month, epoch);
		if (newest.name === collection || (await renameIn(place, newest, collection)))
			return targetOf(place, collection, newest.uuid);
		// Its filler renamed it in this very moment.
		if (tries === TRIES) throw new Error(`the copy of ${place.month} is being renamed by another all the time`);
	}
}

export async function makeCopy(place: CopyPlace, epoch: number): Promise<Target> {
	const collection = copyOf(place.month, epoch);
	const database = archiveDatabase(place.shard);
	const uuid = await ensureCollection(place.cluster, database, collection, ARCHIVE_HOLDINGS.copy);
	return targetOf(place, collection, uuid);
}

export async function dropCopies(place: CopyPlace): Promise<void> {
	await dropAll(place, await copiesOf(place));
}

/** The copy under its final name. @throws when it is ours no longer. */
export async function finishCopy(place: CopyPlace, copy: Target): Promise<Target> {
	const collection = alarmsOf(place.month);
	if (await renameIn(place, { name: copy.collection, uuid: copy.uuid }, collection))
		return targetOf(place, collection, copy.uuid);
	throw new Error(`the copy ${copy.collection} has gone to another process`);
}

/** Renames a collection if it still is the one with this UUID; false when it is not there under that name. */
export async function renameCollection(
	cluster: Cluster,
	database: string,
	from: { name: string; uuid: string },
	to: string,
): Promise<boolean> {
	const [source, target] = [`${database}.${from.name}`, `${database}.${to}`];
	const guard = { collectionUUID: uuidBinary(from.uuid), writeConcern: MAJORITY };
	try {
		await cluster.command("admin", { renameCollection: source, to: target, ...guard });
		return true;
	} catch (error) {
		if (error instanceof MongoServerError && (error.code === NAMESPACE_NOT_FOUND || error.code === 361)) return false;
		throw error;
	}
}

interface Found {
	name: string;
	uuid: string;
}

function renameIn({ cluster, shard }: CopyPlace, from: Found, to: string): Promise<boolean> {
	return renameCollection(cluster, archiveDatabase(shard), from, to);
}

async function dropAll({ cluster, shard }: CopyPlace, copies: Found[]): Promise<void> {
	for (const { name, uuid } of copies) await dropCollection(cluster, archiveDatabase(shard), name, uuid);
}

/** Newest epoch first; one that has its final name already, and was not switched to, before all. */
async function copiesOf({ cluster, shard, month }: CopyPlace): Promise<Found[]> {
	const command = { listCollections: 1, cursor: { batchSize: 1_000 } };
	const reply = await cluster.read(archiveDatabase(shard), command);
	const all = reply.cursor.firstBatch as { name: string; info: { uuid: UUID } }[];
	const ours = all.filter(({ name }) => name === alarmsOf(month) || isCopyOf(month, name));
	return ours
		.map(({ name, info }) => ({ name, uuid: info.uuid.toString("hex") }))
		.sort((one, other) => epochIn(other.name) - epochIn(one.name));
}

function isCopyOf(month: Month, name: string): boolean {
	return holdingOf(ARCHIVE_HOLDINGS, name)?.kind === "copy" && name.startsWith(`copy_${month}_`);
}

function epochIn(name: string): number {
	return Number(/_e(\d+)$/.exec(name)?.[1] ?? Number.POSITIVE_INFINITY);
}

function targetOf({ cluster, shard }: CopyPlace, collection: string, uuid: string): Target {
	return { cluster: cluster.name, database: archiveDatabase(shard), collection, uuid, tier: "archive" };
}
