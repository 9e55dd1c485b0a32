import type { Document, UUID } from "mongodb";
import type { Outcome } from "../../contracts/alarm.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { type FoundSlot, placeName } from "../../domain/jobs/reconcile.ts";
import {
	archiveDatabase,
	monthOfCollection,
	SHARD_CATALOG,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import { shardTarget } from "../../domain/routing/routing.ts";
import type { Cluster } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { isMoved, toBuffer } from "../mongo/commands.ts";
import { readPatiently, type Silent } from "./majority-read.ts";

/** Looks for the slots of ids everywhere they could be, not only where the routing map says: a forgotten copy is a double. */

/** How often a search begins again because a collection vanished under it. */
const TRIES = 5;

/** Every place where each id of one shard has a row, by the id's key; an id without any is left out. */
export async function findSlots(
	clusters: Clusters,
	silent: Silent,
	shard: number,
	ids: Buffer[],
): Promise<Map<string, FoundSlot[]>> {
	for (let attempt = 1; ; attempt++) {
		try {
			const found = await Promise.all(
				placesOf(clusters, shard).map(({ cluster, database }) => findOn(cluster, silent, database, ids)),
			);
			return byId(found.flat());
		} catch (error) {
			if (!isMoved(error) || attempt === TRIES) throw error;
		}
	}
}

/** Every database that could hold a month of the shard. */
function placesOf({ service, archive }: Clusters, shard: number): { cluster: Cluster; database: string }[] {
	return [
		...[...service.values()].map((cluster) => ({ cluster, database: shardDatabase(shard) })),
		...[...archive.values()].map((cluster) => ({ cluster, database: archiveDatabase(shard) })),
	];
}

/** An id as the key of a Map. */
export function keyOf(id: Uint8Array): string {
	return toBuffer(id).toString("latin1");
}

type Found = FoundSlot & { key: string };

function byId(found: Found[]): Map<string, FoundSlot[]> {
	return Map.groupBy(found, ({ key }) => key);
}

/** One command at a time: a check must not be felt by readers. */
async function findOn(cluster: Cluster, silent: Silent, database: string, ids: Buffer[]): Promise<Found[]> {
	const found: Found[] = [];
	for (const month of await monthsOn(cluster, silent, database)) {
		const at = placeName({ cluster: cluster.name, database, collection: month.name });
		const rows = await rowsByIds(cluster, silent, database, month, ids);
		found.push(...rows.map(({ _id, outcome }) => ({ key: keyOf(_id), at, ...(outcome && { outcome }) })));
	}
	return found;
}

/** A collection; `uuid` where one that is replaced in between must not look empty. */
interface MonthOn {
	name: string;
	uuid?: UUID;
}

async function monthsOn(cluster: Cluster, silent: Silent, database: string): Promise<MonthOn[]> {
	const reply = await readPatiently(cluster, silent, database, { listCollections: 1, cursor: { batchSize: 1_000 } });
	const all = (reply?.cursor.firstBatch ?? []) as { name: string; info: { uuid: UUID } }[];
	// The source of an archived month is none any more, and a copy that is being filled is none yet.
	const months = all.filter(({ name }) => monthOfCollection(name) !== null);
	return months.map(({ name, info }) => ({ name, uuid: info.uuid }));
}

interface SlotRow {
	_id: Uint8Array;
	outcome?: Outcome;
}

async function rowsByIds(
	cluster: Cluster,
	silent: Silent,
	database: string,
	{ name, uuid }: MonthOn,
	ids: Buffer[],
): Promise<SlotRow[]> {
	const command: Document = {
		find: name,
		filter: { _id: { $in: ids } },
		projection: { outcome: 1 },
		limit: ids.length,
		batchSize: ids.length,
		singleBatch: true,
		...(uuid && { collectionUUID: uuid }),
	};
	const reply = await readPatiently(cluster, silent, database, command);
	return (reply?.cursor.firstBatch ?? []) as SlotRow[];
}

/** Keys of those ids of a shard that have a row among the failures. */
export async function findFailures(
	clusters: Clusters,
	silent: Silent,
	map: RoutingMap,
	shard: number,
	ids: Buffer[],
): Promise<Set<string>> {
	const target = shardTarget(map, shard, SHARD_CATALOG.failures.kind);
	if (target === null || ids.length === 0) return new Set();
	const cluster = clusters.at(target.cluster);
	const rows = await rowsByIds(cluster, silent, target.database, { name: target.collection }, ids);
	return new Set(rows.map(({ _id }) => keyOf(_id)));
}
