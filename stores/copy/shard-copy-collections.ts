import {
	catalogEntryOf,
	incomingOf,
	movedName,
	SHARD_CATALOG,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import type { Target } from "../../domain/routing/routing.ts";
import type { Cluster } from "../mongo/cluster.ts";
import { dropCollection, ensureCollection, holdsRows, listCollections } from "../mongo/collections.ts";
import { CopyGone, renameCollection } from "../mongo/rename-collection.ts";

/**
 * The copies of a shard's collections on the cluster that it moves to. As with a month: their names carry the epoch of whoever fills them,
 * and taking them over renames them.
 */

export interface TargetPlace {
	cluster: Cluster;
	shard: number;
	/** An attempt of this very move may have given the copies their final names already. */
	mayBeFinished: boolean;
}

/** The cluster holds collections of the shard that no attempt of this move has made. */
export class TargetNotEmpty extends Error {
	override readonly name = "TargetNotEmpty";
}

/** A collection that an attempt at the move has left at the target. */
export interface Incoming {
	/** As it stands there. */
	name: string;
	uuid: string;
	/** Of the collection it is a copy of. */
	of: string;
	isFinal: boolean;
}

/**
 * The copies that are known by their UUID, among what was left, under our epoch's names now. Everything else goes, also what has its final
 * name already: a late command of somebody who saw it there would meet it again when it is in use.
 */
export async function takeOverAll(
	place: TargetPlace,
	left: Incoming[],
	known: Readonly<Record<string, string>>,
	epoch: number,
): Promise<Map<string, Target>> {
	const isKnown = ({ of, uuid, isFinal }: Incoming) => known[of] === uuid && !isFinal;
	await dropIncoming(
		place,
		left.filter((one) => !isKnown(one)),
	);
	const taken = new Map<string, Target>();
	for (const copy of left.filter(isKnown)) {
		const name = incomingOf(copy.of, epoch);
		if (!(await rename(place, copy, name))) throw new CopyGone(copy.name);
		taken.set(copy.of, targetOf(place, name, copy.uuid));
	}
	return taken;
}

/** Made as the collection itself would be: with its engine and its indexes. */
export async function makeIncoming(place: TargetPlace, of: string, epoch: number): Promise<Target> {
	const entry = catalogEntryOf(SHARD_CATALOG, of);
	if (entry === null) throw new Error(`${of} is of no kind that a shard holds`);
	const name = incomingOf(of, epoch);
	const uuid = await ensureCollection(place.cluster, shardDatabase(place.shard), name, entry);
	return targetOf(place, name, uuid);
}

export async function dropIncoming({ cluster, shard }: TargetPlace, left: Incoming[]): Promise<void> {
	for (const { name, uuid } of left) await dropCollection(cluster, shardDatabase(shard), name, uuid);
}

/** The copy under the name of the collection. @throws when it is ours no longer */
export async function finishIncoming(place: TargetPlace, of: string, copy: Target): Promise<Target> {
	const found = { name: copy.collection, uuid: copy.uuid };
	if (await rename(place, found, of)) return targetOf(place, of, copy.uuid);
	throw new CopyGone(copy.collection);
}

function rename({ cluster, shard }: TargetPlace, from: { name: string; uuid: string }, to: string): Promise<boolean> {
	return renameCollection(cluster, shardDatabase(shard), from, to);
}

/**
 * What attempts at this move have left: copies by their own name, and those that have their final name already and were not switched to.
 * What an earlier move has left here stays. To be looked for before the duty is confirmed: then nothing that a later holder has brought to
 * its end is among it.
 */
export async function findOwnIncoming(place: TargetPlace): Promise<Incoming[]> {
	return (await findAll(place)).filter(({ isFinal }) => !isFinal || place.mayBeFinished);
}

/**
 * The same for a move that is to go on. An empty collection that nobody has put in the map was made by a router that lost its change of
 * the map to a switch: it goes, too.
 * @throws {TargetNotEmpty}
 */
export async function findIncoming(place: TargetPlace): Promise<Incoming[]> {
	const all = await findAll(place);
	if (!place.mayBeFinished) for (const one of all.filter(({ isFinal }) => isFinal)) await refuseForeign(place, one);
	return all;
}

async function findAll({ cluster, shard }: TargetPlace): Promise<Incoming[]> {
	const all = await listCollections(cluster, shardDatabase(shard));
	return all.flatMap(({ name, uuid }): Incoming[] => {
		const moved = movedName(name);
		if (moved?.kind === "incoming") return [{ name, uuid, of: moved.name, isFinal: false }];
		const isFinal =
			moved === null &&
			catalogEntryOf(SHARD_CATALOG, name) !== null &&
			!name.startsWith(`${SHARD_CATALOG.retained_archive.kind}_`);
		return isFinal ? [{ name, uuid, of: name, isFinal }] : [];
	});
}

async function refuseForeign({ cluster, shard }: TargetPlace, one: Incoming): Promise<void> {
	if (!(await holdsRows(cluster, shardDatabase(shard), one))) return;
	throw new TargetNotEmpty(
		`${cluster.name} has a collection ${shardDatabase(shard)}.${one.name} that the routing map does not know: look whose it is, and take it away`,
	);
}

function targetOf({ cluster, shard }: TargetPlace, collection: string, uuid: string): Target {
	return { cluster: cluster.name, database: shardDatabase(shard), collection, uuid, tier: "moving" };
}
