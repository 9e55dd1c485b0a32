import { randomBytes } from "node:crypto";
import type { Document } from "mongodb";
import { FENCED, MOVED } from "../../domain/alarms/write-results.ts";
import { CLUSTER_CATALOG, CLUSTER_DATABASE } from "../../domain/routing/collection-catalog.ts";
import { inTime, TooLate } from "../../lib/timeout.ts";
import type { Cluster } from "../mongo/cluster.ts";
import { dropCollection, ensureCollection, uuidBinary } from "../mongo/collections.ts";
import { MAJORITY } from "../mongo/write-concern.ts";

/**
 * Tries out, on the servers themselves, what no reply to `hello` tells: whether everything that the service's promises stand on is kept
 * to. A mongos, or a service that only speaks MongoDB's protocol, may know a command and not do what it says.
 */

/** What a trial needs of a cluster. */
export type TrialCluster = Pick<Cluster, "name" | "command" | "watch">;

const KIND = CLUSTER_CATALOG.trial;
/** A row is seen in the changes of a replica set after some 10 ms; the fence of a move waits for it, and callers for the fence. */
const CHANGES_MS = 2_000;

/** The sentence that says what does not work there, or null. Leaves nothing behind. */
export async function checkCompatibility(cluster: TrialCluster): Promise<string | null> {
	const name = KIND.kind;
	const uuid = await ensureCollection(cluster, CLUSTER_DATABASE, name, KIND);
	try {
		return (await tryCommands(cluster, name, uuid)) ?? (await tryChanges(cluster, name, uuid));
	} finally {
		await dropCollection(cluster, CLUSTER_DATABASE, name, uuid);
	}
}

/** With another collection's UUID every command must be refused, and with its own it must pass. */
async function tryCommands(cluster: TrialCluster, name: string, uuid: string): Promise<string | null> {
	const strange = randomBytes(16).toString("hex");
	for (const command of commandsOn(name)) {
		const [verb = ""] = Object.keys(command);
		if ((await codeOf(cluster, command, strange)) !== MOVED)
			return `does not keep to collectionUUID in ${verb}: a late command would reach the wrong collection`;
		const code = await codeOf(cluster, command, uuid);
		if (code !== null) return `refuses ${verb} with collectionUUID (error ${code})`;
	}
	await codeOf(cluster, { collMod: name, validator: { $expr: false } }, uuid);
	const fenced = await codeOf(cluster, { insert: name, documents: [{ _id: "late" }] }, uuid);
	await codeOf(cluster, { collMod: name, validator: {} }, uuid);
	return fenced === FENCED ? null : "does not keep to a validator set by collMod: a shard on it could not be fenced";
}

function commandsOn(name: string): Document[] {
	return [
		{ insert: name, documents: [{ _id: "trial" }] },
		{ find: name, limit: 1, singleBatch: true },
		{ aggregate: name, pipeline: [{ $limit: 1 }], cursor: {} },
		{ update: name, updates: [{ q: { _id: "trial" }, u: { $set: { at: 1 } } }] },
		{ delete: name, deletes: [{ q: { _id: "trial" }, limit: 1 }] },
		{ collMod: name, validator: {} },
	];
}

/** The code of the error, or null. */
async function codeOf(cluster: TrialCluster, command: Document, uuid: string): Promise<number | null> {
	const isRead = "find" in command || "aggregate" in command;
	const guard = { collectionUUID: uuidBinary(uuid), ...(!isRead && { writeConcern: MAJORITY }) };
	try {
		const reply = await cluster.command(CLUSTER_DATABASE, { ...command, ...guard });
		return reply.writeErrors?.[0]?.code ?? null;
	} catch (error) {
		const { code } = error as { code?: unknown };
		if (typeof code !== "number") throw error;
		return code;
	}
}

/** A mongos shows a change when all of its shards have moved on: after up to ten seconds, if one of them is quiet. */
async function tryChanges(cluster: TrialCluster, name: string, uuid: string): Promise<string | null> {
	const { operationTime } = await cluster.command(CLUSTER_DATABASE, { ping: 1 });
	const changes = cluster.watch(CLUSTER_DATABASE, [{ $match: { "ns.coll": name } }], {
		startAtOperationTime: operationTime,
		maxAwaitTimeMS: 250,
	});
	try {
		await codeOf(cluster, { insert: name, documents: [{ _id: "change" }] }, uuid);
		await inTime(changes.next(), CHANGES_MS);
		return null;
	} catch (error) {
		if (!(error instanceof TooLate)) throw error;
		return `shows a change only after ${CHANGES_MS / 1_000} s: moving a shard would hold up its writes for as long (of a mongos, set periodicNoopIntervalSecs to 1 on each of its shards)`;
	} finally {
		await changes.close();
	}
}
