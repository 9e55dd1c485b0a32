import type { Document } from "mongodb";
import { MAP_ID, type RoutingMap } from "../../contracts/routing.ts";
import { DUPLICATE_KEY } from "../../domain/alarms/write-results.ts";
import {
	CLUSTER_CATALOG,
	CLUSTER_DATABASE,
	META_CATALOG,
	META_DATABASE,
} from "../../domain/routing/collection-catalog.ts";
import { answered, type Cluster } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { ensureCollection } from "../mongo/collections.ts";
import { MAJORITY } from "../mongo/write-concern.ts";
import { noteChange } from "./map-history.ts";

/**
 * Small versioned documents that every process holds in memory (the routing map, the credentials). Written by compare-and-set in the
 * meta database, then copied to every service cluster, so that a process can start while the meta database is away.
 */
export interface Versioned {
	version: number;
}
const COLLECTION = "documents";

/** Makes the places where the documents lie, and what else the meta database holds, before the first is written. */
export async function ensureDocuments(clusters: Clusters): Promise<void> {
	for (const entry of Object.values(META_CATALOG)) {
		await ensureCollection(clusters.meta, META_DATABASE, entry.kind, entry);
	}
	for (const cluster of clusters.service.values()) {
		await ensureCollection(cluster, CLUSTER_DATABASE, COLLECTION, CLUSTER_CATALOG.documents);
	}
}

/** A place that takes longer counts as not answering: one frozen cluster must not hold up who needs the newest version. */
const PLACE_MS = 1_500;

/** The highest version that any reachable cluster has; null when none has any. @throws when no cluster answers. */
export async function loadDocument<T extends Versioned>(clusters: Clusters, id: string): Promise<T | null> {
	const places: [Cluster, string][] = [[clusters.meta, META_DATABASE]];
	for (const cluster of clusters.service.values()) places.push([cluster, CLUSTER_DATABASE]);
	const found = await Promise.allSettled(places.map(([cluster, database]) => readInTime<T>(cluster, database, id)));
	const read = found.filter((one) => one.status === "fulfilled").map(({ value }) => value);
	if (read.length === 0) throw (found[0] as PromiseRejectedResult).reason;
	const known = read.filter((one) => one !== null);
	return known.reduce<T | null>((best, one) => (best === null || one.version > best.version ? one : best), null);
}

function readInTime<T>(cluster: Cluster, database: string, id: string): Promise<T | null> {
	return answered(cluster.name, readDocument<T>(cluster, database, id), PLACE_MS);
}

async function readDocument<T>(cluster: Cluster, database: string, id: string): Promise<T | null> {
	const reply = await cluster.read(database, { find: COLLECTION, filter: { _id: id }, limit: 1, singleBatch: true });
	const [row] = reply.cursor.firstBatch as { body: T }[];
	return row?.body ?? null;
}

/**
 * Writes `next` if the meta database holds an older version, or none (a new meta database takes what the copies have).
 * False: somebody else was first.
 */
export async function replaceDocument<T extends Versioned>(clusters: Clusters, id: string, next: T): Promise<boolean> {
	const replaced = await replaceOlder<T>(clusters.meta, { _id: id, version: next.version, body: next });
	if (replaced === null) return false;
	// Beside the copies: a switch is not to wait for it.
	const noted =
		id === MAP_ID ? noteChange(clusters, replaced.before as RoutingMap | null, next as unknown as RoutingMap) : null;
	await Promise.all([copyDocument(clusters, id, next), noted]);
	return true;
}

/** In the meta database; tells what was there before. Null: something as new, or newer. */
async function replaceOlder<T>(meta: Cluster, row: Document): Promise<{ before: T | null } | null> {
	const query = { _id: row._id, version: { $lt: row.version } };
	try {
		const command = { findAndModify: COLLECTION, query, update: row, upsert: true, writeConcern: MAJORITY };
		const reply = await meta.command(META_DATABASE, command);
		return { before: (reply.value?.body as T | undefined) ?? null };
	} catch (error) {
		if ((error as { code?: unknown }).code === DUPLICATE_KEY) return null;
		throw error;
	}
}

async function putIfNewer(cluster: Cluster, database: string, row: Document): Promise<boolean> {
	const updates = [{ q: { _id: row._id, version: { $lt: row.version } }, u: row, upsert: true }];
	const reply = await cluster.command(database, { update: COLLECTION, updates, writeConcern: MAJORITY });
	const [error] = reply.writeErrors ?? [];
	// The upsert collides with a row that is as new or newer.
	if (error !== undefined && error.code !== DUPLICATE_KEY)
		throw new Error(`${row._id} cannot be stored: ${error.errmsg}`);
	return error === undefined;
}

/**
 * Copies to every service cluster that answers; the others get it the next time. Never replaces a newer version. One that is being retired
 * gets none: it would be made anew behind the retirement.
 */
export async function copyDocument<T extends Versioned>(clusters: Clusters, id: string, body: T): Promise<void> {
	const row = { _id: id, version: body.version, body };
	const all = [...clusters.service.values()].filter(({ name }) => !clusters.isRetiring(name));
	const copy = (cluster: Cluster) => answered(cluster.name, putIfNewer(cluster, CLUSTER_DATABASE, row), PLACE_MS);
	await Promise.allSettled(all.map(copy));
}

/** How often a compare-and-set is tried again when others are always first. */
export const MOST_TRIES = 8;
