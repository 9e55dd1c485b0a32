import {
	ARCHIVE_CATALOG,
	alarmsOf,
	archiveDatabase,
	catalogEntryOf,
	copyOf,
} from "../../domain/routing/collection-catalog.ts";
import type { Target } from "../../domain/routing/routing.ts";
import type { Month } from "../../domain/time/periods.ts";
import type { Cluster } from "../mongo/cluster.ts";
import { dropCollection, ensureCollection, listCollections } from "../mongo/collections.ts";
import { CopyGone, renameCollection } from "../mongo/rename-collection.ts";

/**
 * The copy of a month on its archive cluster while it is being made. Its name ends with the epoch of whoever fills it: taking it over
 * renames it, and from then on every late command of an earlier filler, which carries name and UUID, is answered 361.
 */

export interface CopyPlace {
	cluster: Cluster;
	shard: number;
	month: Month;
}

/** A collection that an earlier attempt at the month has left on the archive cluster. */
export interface Leftover {
	name: string;
	uuid: string;
}

/**
 * What earlier attempts have left: copies, and one that has its final name already and was not switched to. To be looked for before the
 * map is changed on one's own epoch: then nothing that a later holder has brought to its end is ever among it.
 */
export async function findLeftovers({ cluster, shard, month }: CopyPlace): Promise<Leftover[]> {
	const all = await listCollections(cluster, archiveDatabase(shard));
	return all.filter(({ name }) => name === alarmsOf(month) || isCopyOf(month, name));
}

/**
 * The copy of this UUID, under our epoch's name now, and nothing beside it; null when it is not among what was left. One with its final
 * name is none: a late command of somebody who saw it there would meet it again when it is in use.
 */
export async function takeOverCopy(
	place: CopyPlace,
	left: Leftover[],
	uuid: string,
	epoch: number,
): Promise<Target | null> {
	const copy = left.find((one) => one.uuid === uuid && isCopyOf(place.month, one.name));
	if (copy === undefined) return null;
	await dropCopies(
		place,
		left.filter((one) => one !== copy),
	);
	const collection = copyOf(place.month, epoch);
	if (await renameIn(place, copy, collection)) return targetOf(place, collection, uuid);
	throw new CopyGone(copy.name);
}

export async function makeCopy(place: CopyPlace, epoch: number): Promise<Target> {
	const collection = copyOf(place.month, epoch);
	const database = archiveDatabase(place.shard);
	const uuid = await ensureCollection(place.cluster, database, collection, ARCHIVE_CATALOG.copy);
	return targetOf(place, collection, uuid);
}

export async function dropCopies({ cluster, shard }: CopyPlace, left: Leftover[]): Promise<void> {
	for (const { name, uuid } of left) await dropCollection(cluster, archiveDatabase(shard), name, uuid);
}

/** The copy under its final name. @throws when it is ours no longer. */
export async function finishCopy(place: CopyPlace, copy: Target): Promise<Target> {
	const collection = alarmsOf(place.month);
	if (await renameIn(place, { name: copy.collection, uuid: copy.uuid }, collection))
		return targetOf(place, collection, copy.uuid);
	throw new CopyGone(copy.collection);
}

function renameIn({ cluster, shard }: CopyPlace, from: Leftover, to: string): Promise<boolean> {
	return renameCollection(cluster, archiveDatabase(shard), from, to);
}

function isCopyOf(month: Month, name: string): boolean {
	return catalogEntryOf(ARCHIVE_CATALOG, name)?.kind === "copy" && name.startsWith(`copy_${month}_`);
}

function targetOf({ cluster, shard }: CopyPlace, collection: string, uuid: string): Target {
	return { cluster: cluster.name, database: archiveDatabase(shard), collection, uuid, tier: "archive" };
}
