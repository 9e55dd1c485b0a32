import { randomUUID } from "node:crypto";
import { Fault } from "../../contracts/errors.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { inUse, ledgerInTheWay, waysOfMap, withoutCluster, withRetiring } from "../../domain/routing/clusters.ts";
import {
	CLUSTER_CATALOG,
	CLUSTER_DATABASE,
	catalogEntryOf,
	META_DATABASE,
	movedName,
} from "../../domain/routing/collection-catalog.ts";
import { Cluster, isUnavailable } from "../mongo/cluster.ts";
import { dropCollection } from "../mongo/collections.ts";
import { releaseLease, takeLease } from "../mongo/lease.ts";
import { changeMap, newestMap } from "../routing/map-change.ts";
import { hasRows, namesIn, type RegistryDeps } from "./add-cluster.ts";
import { type ClusterCollection, clusterCollections, liftClusterFence, setClusterFence } from "./cluster-fence.ts";

/**
 * Takes a service cluster out of a running system, when it is empty. First the map marks it, and nobody puts anything new there; then,
 * when what was there is gone by itself, the cluster is fenced, looked at once more, and leaves the map. Nothing is thrown away.
 */

interface Retirement {
	state: "retiring" | "retired";
	map: RoutingMap;
	/** Why it is not retired yet. */
	blockers: string[];
}

/** Asking again is the same as asking once. @throws {Fault} CLUSTER_UNKNOWN, CLUSTER_IN_USE: then nothing has changed. */
export async function retireCluster(deps: RegistryDeps, name: string, by: string): Promise<Retirement> {
	const map = await newestMap(deps.clusters);
	if (map.clusters[name] === undefined && map.retired?.[name] !== undefined)
		return { state: "retired", map, blockers: [] };
	await rejectMeta(deps, name);
	const marked = await changeMap(deps.clusters, (held) => withRetiring(held, name, by, new Date(deps.nowMs())));
	if (marked !== null) deps.onMap(marked);
	// One that is dead is not used any more, but cannot be told to be empty.
	return finishRetirement(deps, name).catch((error: unknown) => {
		if ((error as Partial<Fault>).type !== "UNAVAILABLE") throw error;
		return retiring(deps, [(error as Fault).message]);
	});
}

/** By what stands on it: the environment may name the same servers in another way. */
async function rejectMeta({ clusters }: RegistryDeps, name: string): Promise<void> {
	const cluster = clusters.service.get(name);
	if (cluster === undefined) return;
	// One that is silent cannot be the meta database: without that, nothing is marked.
	const isMeta =
		cluster === clusters.meta || (await namesIn(cluster, META_DATABASE).catch(noneIfUnavailable)).length > 0;
	if (isMeta) throw inUse(`${name} holds the meta database (${META_DATABASE}); the system cannot do without it.`);
}

function noneIfUnavailable(error: unknown): string[] {
	if (isUnavailable(error)) return [];
	throw error;
}

/** What every router does from time to time. A cluster that does not answer comes the next time. */
export async function finishRetirements(deps: RegistryDeps): Promise<{ retired: string[]; errors: unknown[] }> {
	const { clusters } = await newestMap(deps.clusters);
	const retired: string[] = [];
	const errors: unknown[] = [];
	for (const [name, { retiring }] of Object.entries(clusters)) {
		if (retiring === undefined) continue;
		await finishRetirement(deps, name).then(
			({ state }) => state === "retired" && retired.push(name),
			(error: unknown) => errors.push(error),
		);
	}
	return { retired, errors };
}

async function finishRetirement(deps: RegistryDeps, name: string): Promise<Retirement> {
	const uri = deps.clusters.uriOf(name);
	if (uri === undefined)
		throw inUse(`the environment of this router does not name ${name}; retire it where it is known.`);
	// A connection of its own: that of the process ends when the map has forgotten the cluster.
	const cluster = new Cluster(name, uri);
	try {
		const blockers = await waysOf(deps, cluster);
		return blockers.length > 0 ? await retiring(deps, blockers) : await leave(deps, cluster);
	} catch (error) {
		throw isUnavailable(error) ? silent(name) : error;
	} finally {
		await cluster.close();
	}
}

/** A cluster that does not answer may hold accepted alarms. */
function silent(name: string): Fault {
	return new Fault("UNAVAILABLE", `The cluster ${name} does not answer: whether it is empty cannot be seen.`, {
		retryAfterS: 5,
		cluster: name,
	});
}

/** Why a cluster that is being retired cannot go yet. @throws when it does not answer. */
export async function waysOf({ clusters, nowMs }: RegistryDeps, cluster: Cluster): Promise<string[]> {
	const map = await newestMap(clusters);
	return [...waysOfMap(map, cluster.name, nowMs()), ...(await waysOn(cluster))];
}

async function waysOn(cluster: Cluster): Promise<string[]> {
	return [...(await ownRows(cluster)), ...(await strayCollections(cluster))];
}

async function ownRows(cluster: Cluster): Promise<string[]> {
	const ways: string[] = [];
	for (const { name } of await clusterCollections(cluster)) {
		const kind = catalogEntryOf(CLUSTER_CATALOG, name)?.kind;
		if (kind === CLUSTER_CATALOG.outbox.kind && (await hasRows(cluster, name)))
			ways.push("accepted batches wait in its outbox for the queue; they are relayed as soon as the queue takes them");
		if (kind === CLUSTER_CATALOG.ledger.kind && (await hasRows(cluster, name)))
			ways.push(ledgerInTheWay(name.slice(`${kind}_`.length)));
	}
	return ways;
}

/** Of shards, though the map knows of none there: not ours to drop. */
async function strayCollections(cluster: Cluster): Promise<string[]> {
	const reply = await cluster.command("admin", { listDatabases: 1, nameOnly: true });
	const names = (reply.databases as { name: string }[])
		.map(({ name }) => name)
		.filter((name) => /^alarm_s\d+$/.test(name));
	const found = await Promise.all(
		names.map(async (database) => (await namesIn(cluster, database)).map((name) => ({ database, name }))),
	);
	return found.flat().map(({ database, name }) => `${database}.${name} ${whyStray(name)}`);
}

function whyStray(name: string): string {
	if (movedName(name)?.kind === "incoming") return "is the copy of a move that never ended: drop it, or end the move";
	return "is still there: the mover drops what a shard has left behind; anything else is for you to look at";
}

const LEASE_MS = 30_000;

/** One router at a time: another one would lift the fence from under it. */
async function leave(deps: RegistryDeps, cluster: Cluster): Promise<Retirement> {
	const holder = randomUUID();
	if ((await takeLease(cluster, "retire", holder, LEASE_MS)) === null)
		return retiring(deps, ["another router is taking it out of the map just now"]);
	const retirement = await leaveAlone(deps, cluster);
	if (retirement.state === "retiring") await releaseLease(cluster, "retire", holder);
	return retirement;
}

/** Fenced, so that a process with an old map cannot put anything there behind the last look. */
async function leaveAlone(deps: RegistryDeps, cluster: Cluster): Promise<Retirement> {
	await setClusterFence(cluster);
	const blockers = await waysOn(cluster);
	// Looked for before the cluster leaves the map: by the time that this process goes on, another may have been added at this address.
	const ours = await clusterCollections(cluster);
	const gone = blockers.length > 0 ? null : await forget(deps, cluster.name);
	const map = gone ?? (await newestMap(deps.clusters));
	if (map.clusters[cluster.name] !== undefined) {
		await liftClusterFence(cluster);
		return { state: "retiring", map, blockers };
	}
	deps.onMap(map);
	await dropOurs(cluster, ours);
	return { state: "retired", map, blockers: [] };
}

async function retiring({ clusters }: RegistryDeps, blockers: string[]): Promise<Retirement> {
	return { state: "retiring", map: await newestMap(clusters), blockers };
}

function forget({ clusters, nowMs }: RegistryDeps, name: string): Promise<RoutingMap | null> {
	return changeMap(clusters, (map) => withoutCluster(map, name, new Date(nowMs())));
}

/** Empty, or copies: whoever still writes there is answered that the collection is gone. */
async function dropOurs(cluster: Cluster, ours: ClusterCollection[]): Promise<void> {
	for (const { name, uuid } of ours) await dropCollection(cluster, CLUSTER_DATABASE, name, uuid);
}
