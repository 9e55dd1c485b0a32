import { randomBytes } from "node:crypto";
import type { Document } from "mongodb";
import { Fault } from "../../contracts/errors.ts";
import type { ClusterPlace, RoutingMap } from "../../contracts/routing.ts";
import { DUPLICATE_KEY } from "../../domain/alarms/write-results.ts";
import {
	type Addition,
	alreadyKnown,
	checkAddress,
	judgeAddition,
	withAddress,
	withCluster,
} from "../../domain/routing/clusters.ts";
import { CLUSTER_CATALOG, CLUSTER_DATABASE, catalogEntryOf, due } from "../../domain/routing/collection-catalog.ts";
import { clockTrouble } from "../../domain/time/clock.ts";
import { answerWithin } from "../../lib/timeout.ts";
import { Cluster, isOutage, isUnavailable, WrongServer } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { ensureCollection } from "../mongo/collections.ts";
import { MAJORITY } from "../mongo/write-concern.ts";
import { copyCredentials, loadCredentials } from "../routing/credentials.ts";
import { changeMap, newestMap } from "../routing/map-change.ts";
import { MAP_ID } from "../routing/provision.ts";
import { copyDocument, loadDocument } from "../routing/versioned-documents.ts";
import { liftClusterFence } from "./cluster-fence.ts";
import { checkCompatibility } from "./compatibility-check.ts";

/** Adds a service cluster to a running system: looked at in every way first, made ready, and only then named by the map. */

export interface RegistryDeps {
	clusters: Clusters;
	nowMs: () => number;
	/** Hears of the map that was made. */
	onMap: (map: RoutingMap) => void;
}

interface Wanted {
	name: string;
	uri: string;
	/** Who asked for it. */
	by: string;
}

const DOCUMENTS = CLUSTER_CATALOG.documents.kind;
/** The row by which a cluster says which of the map's it is. */
const MEMBER = "member";

/** @throws {Fault} with what is wrong and what to do; the map is as it was then. */
export async function addCluster(deps: RegistryDeps, wanted: Wanted): Promise<{ addition: Addition; map: RoutingMap }> {
	checkAddress(wanted.name, wanted.uri);
	const map = await newestMap(deps.clusters);
	const addition = judge(deps.clusters, map, wanted);
	if (addition === "known") return { addition, map };
	const cluster = open(wanted);
	try {
		await rejectUnfit(cluster, deps.nowMs);
		const place = await prepare(deps, cluster, wanted, { addition, map });
		return await enter(deps, wanted, addition, place);
	} finally {
		await cluster.close();
	}
}

function judge({ given, archive }: Clusters, map: RoutingMap, wanted: Wanted): Addition {
	return judgeAddition(map, { given, archive: new Set(archive.keys()) }, wanted);
}

/** The driver names the whole address in some of its errors: they are told in our words. */
function open({ name, uri }: Wanted): Cluster {
	try {
		return new Cluster(name, uri);
	} catch (error) {
		const { message } = error as Error;
		throw unfit(name, `has an address that cannot be used${message.includes("://") ? "" : `: ${message}`}`);
	}
}

function unfit(name: string, why: string): Fault {
	return new Fault("CLUSTER_UNFIT", `The cluster ${name} ${why}.`);
}

/** @throws {Fault} CLUSTER_UNREACHABLE, CLUSTER_UNFIT */
async function rejectUnfit(cluster: Cluster, nowMs: () => number): Promise<void> {
	try {
		await cluster.check();
		const askedMs = nowMs();
		const theirsMs = await cluster.askClock();
		const trouble = clockTrouble([{ server: `the cluster ${cluster.name}`, theirsMs, askedMs, heardMs: nowMs() }]);
		if (trouble !== null) throw unfit(cluster.name, `has another time than this process: ${trouble}`);
	} catch (error) {
		throw explained(cluster.name, error);
	}
}

function explained(name: string, error: unknown): unknown {
	if (isUnavailable(error) || isOutage(error))
		return new Fault("CLUSTER_UNREACHABLE", `The cluster ${name} does not answer; start it, or correct its address.`, {
			retryAfterS: 5,
		});
	if (error instanceof Fault) return error;
	if (error instanceof WrongServer) return new Fault("CLUSTER_UNFIT", `${capital(error.message)}.`);
	// The server's own words: a wrong password, a right that is missing.
	return unfit(name, `refused to be looked at: ${error instanceof Error ? error.message : error}`);
}

function capital(text: string): string {
	return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** Makes the cluster ready for what the addition is; gives the place of a new one. */
async function prepare(
	deps: RegistryDeps,
	cluster: Cluster,
	wanted: Wanted,
	{ addition, map }: { addition: Addition; map: RoutingMap },
): Promise<ClusterPlace | null> {
	try {
		if (addition === "new") return await prepareNew(deps, cluster, wanted);
		if (addition === "readdressed") await rejectOther(cluster, map.clusters[wanted.name]?.member);
		if (addition === "returned") await liftClusterFence(cluster);
		return null;
	} catch (error) {
		throw explained(wanted.name, error);
	}
}

async function prepareNew({ clusters, nowMs }: RegistryDeps, cluster: Cluster, wanted: Wanted): Promise<ClusterPlace> {
	await rejectTwin(clusters, cluster);
	await refuseForeign(cluster, (await isArchive(clusters, cluster)) ? SERVICE_DATABASES : ALL_DATABASES);
	const fault = await checkCompatibility(cluster);
	if (fault !== null) throw unfit(cluster.name, fault);
	const now = new Date(nowMs());
	const collections: ClusterPlace["collections"] = {};
	for (const { name, entry } of due(CLUSTER_CATALOG, now.getTime())) {
		collections[name] = { tier: "service", uuid: await ensureCollection(cluster, CLUSTER_DATABASE, name, entry) };
	}
	const member = await claim(cluster);
	return { collections, uri: wanted.uri, member, addedAt: now.toISOString(), by: wanted.by };
}

const TWIN_MS = 1_500;

/** The same servers under another name: what is on them would be counted twice. */
async function rejectTwin(clusters: Clusters, cluster: Cluster): Promise<void> {
	const others = new Set([...clusters.service.values(), clusters.meta]);
	const twin = await twinAmong([...others], cluster);
	if (twin !== null) throw alreadyKnown(twin.name);
}

/** Archived months may lie on a cluster that serves, too. */
async function isArchive({ archive }: Clusters, cluster: Cluster): Promise<boolean> {
	return (await twinAmong([...archive.values()], cluster)) !== null;
}

/** By what the servers say of themselves; one that does not answer in time is none. */
async function twinAmong(others: Cluster[], cluster: Cluster): Promise<Cluster | null> {
	const own = await helloOf(cluster);
	for (const other of others.filter(({ name }) => name !== cluster.name)) {
		const theirs = await answerWithin(TWIN_MS, helloOf(other));
		if (theirs !== null && isSameServer(own, theirs)) return other;
	}
	return null;
}

function helloOf(cluster: Cluster): Promise<Document> {
	return cluster.command("admin", { hello: 1 });
}

function isSameServer(one: Document, other: Document): boolean {
	const process = ({ topologyVersion }: Document) => String(topologyVersion?.processId);
	return one.topologyVersion !== undefined && process(one) === process(other);
}

const SERVICE_DATABASES = /^alarm_(s\d+|cluster|meta)$/;
const ALL_DATABASES = /^alarm_([sa]\d+|cluster|meta)$/;

/** What an addition that was cut off has left is ours, and empty; everything else belongs to somebody. */
async function refuseForeign(cluster: Cluster, databases: RegExp): Promise<void> {
	const reply = await cluster.command("admin", { listDatabases: 1, nameOnly: true });
	const names = (reply.databases as { name: string }[]).map(({ name }) => name).filter((name) => databases.test(name));
	for (const database of names) {
		const collections = await namesIn(cluster, database);
		for (const name of collections)
			if (!(await isOurs(cluster, database, name))) throw notEmpty(cluster.name, `${database}.${name}`);
	}
}

export async function namesIn(cluster: Cluster, database: string): Promise<string[]> {
	const reply = await cluster.command(database, { listCollections: 1, nameOnly: true, cursor: { batchSize: 1_000 } });
	return (reply.cursor.firstBatch as { name: string }[]).map(({ name }) => name);
}

async function isOurs(cluster: Cluster, database: string, name: string): Promise<boolean> {
	if (database !== CLUSTER_DATABASE || catalogEntryOf(CLUSTER_CATALOG, name) === null) return false;
	if (name === CLUSTER_CATALOG.trial.kind) return true;
	return !(await hasRows(cluster, name, name === DOCUMENTS ? { _id: { $ne: MEMBER } } : {}));
}

export async function hasRows(cluster: Cluster, name: string, filter: Document = {}): Promise<boolean> {
	const reply = await cluster.read(CLUSTER_DATABASE, { find: name, filter, limit: 1, singleBatch: true });
	return reply.cursor.firstBatch.length > 0;
}

function notEmpty(name: string, what: string): Fault {
	return new Fault(
		"CLUSTER_NOT_EMPTY",
		`The cluster ${name} holds ${what}, of this or another alarm service; nothing was changed. If nobody needs it, drop its alarm_… databases.`,
	);
}

/** Writes into the cluster which one it is, once and for all: of two who add it at the same time, by two names, one is refused. */
async function claim(cluster: Cluster): Promise<string> {
	const body = { name: cluster.name, id: randomBytes(12).toString("hex") };
	const documents = [{ _id: MEMBER, version: 1, body }];
	const reply = await cluster.command(CLUSTER_DATABASE, { insert: DOCUMENTS, documents, writeConcern: MAJORITY });
	const [error] = reply.writeErrors ?? [];
	if (error === undefined) return body.id;
	if (error.code !== DUPLICATE_KEY) throw new Error(error.errmsg);
	const found = await readMember(cluster);
	if (found?.name === cluster.name) return found.id;
	throw new Fault(
		"CLUSTER_NOT_EMPTY",
		`Somebody has begun to add this cluster as ${found?.name}: add it by that name, or drop its database ${CLUSTER_DATABASE} first.`,
	);
}

async function readMember(cluster: Cluster): Promise<{ name: string; id: string } | null> {
	const find = { find: DOCUMENTS, filter: { _id: MEMBER }, limit: 1, singleBatch: true };
	const [row] = (await cluster.read(CLUSTER_DATABASE, find)).cursor.firstBatch;
	return row?.body ?? null;
}

/** Another address of the same name must lead to the same rows. */
async function rejectOther(cluster: Cluster, member: string | undefined): Promise<void> {
	const found = await readMember(cluster);
	if (member !== undefined && found?.id === member) return;
	throw new Fault("CLUSTER_NAME_TAKEN", `The name ${cluster.name} is that of another cluster; choose another one.`);
}

async function enter(deps: RegistryDeps, wanted: Wanted, addition: Addition, place: ClusterPlace | null) {
	const { clusters } = deps;
	const { name, uri } = wanted;
	const changed = await changeMap(clusters, (map) => {
		// Somebody else was first, with the same, or (then it throws) with another cluster.
		if (judge(clusters, map, wanted) !== addition) return null;
		const now = new Date(deps.nowMs());
		return place === null ? withAddress(map, name, uri, now) : withCluster(map, name, place, now);
	});
	const map = changed ?? (await newestMap(clusters));
	if (map.clusters[name] === undefined) throw justLeft(name);
	deps.onMap(map);
	await copyAll(clusters, map);
	return { addition: changed === null ? ("known" as const) : addition, map };
}

function justLeft(name: string): Fault {
	const message = `The cluster ${name} has left the map while it was being added; add it again.`;
	return new Fault("UNAVAILABLE", message, { retryAfterS: 1 });
}

/** So that a process can start from the new cluster alone at once. */
async function copyAll(clusters: Clusters, map: RoutingMap): Promise<void> {
	await copyDocument(clusters, MAP_ID, map);
	const credentials = await loadCredentials(clusters);
	if (credentials !== null) await copyCredentials(clusters, credentials);
}

/**
 * Before the services start: an environment that names a cluster by another address than the map is right if that leads to the same
 * rows. Then the map gets it. @throws {WrongAddress} if not.
 */
export async function adoptAddresses(clusters: Clusters, nowMs: () => number): Promise<void> {
	const known = await loadDocument<RoutingMap>(clusters, MAP_ID);
	if (known === null) return;
	let newest: RoutingMap = known;
	for (const [name, uri] of clusters.given) {
		const place: ClusterPlace | undefined = newest.clusters[name];
		if (place?.uri === undefined || place.uri === uri) continue;
		if (!(await isMember(name, uri, place.member))) continue;
		newest = (await changeMap(clusters, (map) => withAddressOnly(map, name, uri, new Date(nowMs())))) ?? newest;
	}
	clusters.refuseConflict(newest);
}

async function isMember(name: string, uri: string, member: string | undefined): Promise<boolean> {
	const cluster = new Cluster(name, uri);
	const found = await readMember(cluster).catch(() => null);
	await cluster.close();
	return found !== null && found.id === member;
}

function withAddressOnly(map: RoutingMap, name: string, uri: string, now: Date): RoutingMap | null {
	const { retiring, retiringBy } = map.clusters[name] ?? {};
	if (map.clusters[name]?.uri === undefined) return null;
	const next = withAddress(map, name, uri, now);
	const place = next.clusters[name];
	if (place !== undefined && retiring !== undefined) Object.assign(place, { retiring, retiringBy });
	return next;
}
