import type { Document } from "mongodb";
import type { CollectionPlace } from "../../contracts/routing.ts";
import {
	ARCHIVE_CATALOG,
	alarmsOf,
	archiveDatabase,
	retainedArchiveOf,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import { shardPlace } from "../../domain/routing/routing.ts";
import type { Month } from "../../domain/time/periods.ts";
import { type ShardLock, withShardLock } from "../../jobs/lock/shard-lock.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { ensureCollection } from "../../stores/mongo/collections.ts";
import { realNow, realNowMs } from "./now.ts";

/** Months put into the archive and back by hand, with nothing but what readers and writers can see of it. */

const TO = "a0";

/** Copies one month of a shard, switches the map, and renames the source retained. `onSwitched` runs before that last step. */
export async function archiveMonth(
	clusters: Clusters,
	shard: number,
	month: Month,
	onSwitched: () => Promise<unknown> = async () => undefined,
): Promise<void> {
	await withLock(clusters, shard, async (lock) => {
		const [name, database] = [alarmsOf(month), shardDatabase(shard)];
		const source = lock.place(name) as CollectionPlace;
		const [from, into] = [homeOf(clusters, lock), clusters.at(TO)];
		await lock.setPlace(name, { ...source, tier: "moving" });
		await from.command(database, { collMod: name, validator: { $expr: false } });
		const uuid = await ensureCollection(into, archiveDatabase(shard), name, ARCHIVE_CATALOG.alarms);
		const rows = await rowsOf(from, database, name);
		if (rows.length > 0) await into.command(archiveDatabase(shard), { insert: name, documents: rows });
		const retained = { uuid: source.uuid, since: realNow().toISOString(), settled: true };
		await lock.setPlace(name, { tier: "archive", uuid, cluster: TO, retained });
		await onSwitched();
		await rename(from, `${database}.${name}`, `${database}.${retainedArchiveOf(month)}`);
	});
}

/** The move in the other direction: the source is what it was before. */
export async function restoreMonth(clusters: Clusters, shard: number, month: Month): Promise<void> {
	await withLock(clusters, shard, async (lock) => {
		const [name, database] = [alarmsOf(month), shardDatabase(shard)];
		const { retained } = lock.place(name) as CollectionPlace;
		const home = homeOf(clusters, lock);
		await rename(home, `${database}.${retainedArchiveOf(month)}`, `${database}.${name}`);
		await lock.setPlace(name, { tier: "service", uuid: retained?.uuid ?? "" });
		await clusters.at(TO).command(archiveDatabase(shard), { drop: name });
		await home.command(database, { collMod: name, validator: {} });
	});
}

/** Takes an archived month out of the map and drops it. */
export async function dropMonth(clusters: Clusters, shard: number, month: Month): Promise<void> {
	await withLock(clusters, shard, async (lock) => {
		await lock.setPlace(alarmsOf(month), null);
		await clusters.at(TO).command(archiveDatabase(shard), { drop: alarmsOf(month) });
		await homeOf(clusters, lock).command(shardDatabase(shard), { drop: retainedArchiveOf(month) });
	});
}

async function withLock(clusters: Clusters, shard: number, deed: (lock: ShardLock) => Promise<void>): Promise<void> {
	const deps = { clusters, node: "test", onMap: () => undefined, nowMs: realNowMs };
	const isDone = await withShardLock(deps, shard, { kind: "archive", run: "by-hand" }, (lock) =>
		deed(lock).then(() => true),
	);
	if (isDone === null) throw new Error(`somebody has a duty on shard ${shard}`);
}

function homeOf(clusters: Clusters, { map, shard }: ShardLock): Cluster {
	return clusters.at(shardPlace(map, shard).cluster);
}

async function rowsOf(cluster: Cluster, database: string, name: string): Promise<Document[]> {
	const limit = 100_000;
	const reply = await cluster.command(database, { find: name, sort: { _id: 1 }, limit, batchSize: limit });
	return reply.cursor.firstBatch;
}

async function rename(cluster: Cluster, from: string, to: string): Promise<void> {
	await cluster.command("admin", { renameCollection: from, to });
}
