import type { UUID } from "mongodb";
import { holdingOf, incomingOf, movedName, SHARD_HOLDINGS, shardDatabase } from "../domain/holdings.ts";
import type { Target } from "../domain/routing.ts";
import { renameCollection } from "./archive-copies.ts";
import type { Cluster } from "./cluster.ts";
import { dropCollection, ensureCollection } from "./collections.ts";

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

interface Found {
	/** As it stands there. */
	name: string;
	uuid: string;
	/** Of the collection it is a copy of. */
	of: string;
	epoch: number;
}

const TRIES = 5;

/**
 * What earlier attempts have left of these collections, under our epoch's names now; of several copies the newest. The others go, and so do
 * those of collections that are there no longer.
 */
export async function takeOverAll(place: TargetPlace, names: string[], epoch: number): Promise<Map<string, Target>> {
	for (let tries = 1; ; tries++) {
		const taken = await tryTakeOver(place, names, epoch);
		if (taken !== null) return taken;
		if (tries === TRIES)
			throw new Error(`the copies of shard ${place.shard} are being renamed by another all the time`);
	}
}

async function tryTakeOver(place: TargetPlace, names: string[], epoch: number): Promise<Map<string, Target> | null> {
	const taken = new Map<string, Target>();
	const found = await copiesOn(place);
	const [ours, gone] = [found.filter(({ of }) => names.includes(of)), found.filter(({ of }) => !names.includes(of))];
	await dropAll(place, gone);
	for (const [of, copies] of Map.groupBy(ours, (copy) => copy.of)) {
		const [newest, ...older] = copies.sort((one, other) => other.epoch - one.epoch) as [Found, ...Found[]];
		await dropAll(place, older);
		const name = incomingOf(of, epoch);
		if (newest.name !== name && !(await rename(place, newest, name))) return null;
		taken.set(of, targetOf(place, name, newest.uuid));
	}
	return taken;
}

/** Made as the collection itself would be: with its engine and its indexes. */
export async function makeIncoming(place: TargetPlace, of: string, epoch: number): Promise<Target> {
	const holding = holdingOf(SHARD_HOLDINGS, of);
	if (holding === null) throw new Error(`${of} is of no kind that a shard holds`);
	const name = incomingOf(of, epoch);
	const uuid = await ensureCollection(place.cluster, shardDatabase(place.shard), name, holding);
	return targetOf(place, name, uuid);
}

/** @throws {TargetNotEmpty} */
export async function dropIncoming(place: TargetPlace): Promise<void> {
	await dropAll(place, await copiesOn(place));
}

/** The copy under the name of the collection. @throws when it is ours no longer */
export async function finishIncoming(place: TargetPlace, of: string, copy: Target): Promise<Target> {
	const found = { name: copy.collection, uuid: copy.uuid };
	if (await rename(place, found, of)) return targetOf(place, of, copy.uuid);
	throw new Error(`the copy ${copy.collection} has gone to another process`);
}

function rename({ cluster, shard }: TargetPlace, from: { name: string; uuid: string }, to: string): Promise<boolean> {
	return renameCollection(cluster, shardDatabase(shard), from, to);
}

async function dropAll({ cluster, shard }: TargetPlace, found: Found[]): Promise<void> {
	for (const { name, uuid } of found) await dropCollection(cluster, shardDatabase(shard), name, uuid);
}

/** Copies by their own name, and those that have their final name already and were not switched to. What was left here by an earlier move stays. */
async function copiesOn({ cluster, shard, mayBeFinished }: TargetPlace): Promise<Found[]> {
	const command = { listCollections: 1, cursor: { batchSize: 1_000 } };
	const reply = await cluster.read(shardDatabase(shard), command);
	const all = reply.cursor.firstBatch as { name: string; info: { uuid: UUID } }[];
	return all.flatMap(({ name, info }): Found[] => {
		const moved = movedName(name);
		const uuid = info.uuid.toString("hex");
		if (moved?.kind === "incoming") return [{ name, uuid, of: moved.name, epoch: moved.epoch }];
		const isFinal = moved === null && holdingOf(SHARD_HOLDINGS, name) !== null && !name.startsWith("away_");
		if (isFinal && !mayBeFinished)
			throw new TargetNotEmpty(
				`${cluster.name} has a collection ${shardDatabase(shard)}.${name} that the routing map does not know: look whose it is, and take it away`,
			);
		return isFinal ? [{ name, uuid, of: name, epoch: Number.POSITIVE_INFINITY }] : [];
	});
}

function targetOf({ cluster, shard }: TargetPlace, collection: string, uuid: string): Target {
	return { cluster: cluster.name, database: shardDatabase(shard), collection, uuid, tier: "moving" };
}
