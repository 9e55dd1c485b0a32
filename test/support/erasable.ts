import { randomBytes } from "node:crypto";
import { type Document, MongoClient } from "mongodb";
import { newAlarmId, shardOf, userHash, userKey } from "../../domain/alarms/ids.ts";
import {
	ARCHIVE_CATALOG,
	alarmsOf,
	archiveDatabase,
	type CatalogEntry,
	copyOf,
	keysOf,
	ledgerOf,
	retainedArchiveOf,
	SHARD_CATALOG,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import { addMonths, dayOf, monthOf } from "../../domain/time/periods.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { ensureCollection } from "../../stores/mongo/collections.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { realNowMs } from "./now.ts";
import type { TestServers } from "./servers.ts";

/** Rows of customers in every kind of place, put there by hand, and a look at every byte of what is left. */

/** Accepted so long ago that it has arrived. */
export const AGO_MS = 120_000;

type Row = Document & { _id: Buffer };

/** Of whom, and when it was accepted. Of two customers with one hash `owner` is the same. */
export interface Whose {
	userId: string;
	/** The first 8 bytes of its ids. */
	owner: Buffer;
	timeMs: number;
}

function idOf({ owner, timeMs }: Whose): Buffer {
	const id = newAlarmId("", timeMs);
	owner.copy(id);
	return id;
}

export function alarmRow(whose: Whose, more: object = {}): Row {
	return { _id: idOf(whose), userId: whose.userId, category: "c", title: "t", body: "b", producer: "demo", ...more };
}

export function tombstoneRow(whose: Whose): Row {
	return { _id: idOf(whose), outcome: "duplicate", producer: "demo", at: new Date(whose.timeMs) };
}

export function failureRow(whose: Whose): Row {
	const { userId, timeMs } = whose;
	const why = { code: "MONTH_CLOSED", message: "m", failedAt: new Date(timeMs) };
	return { _id: idOf(whose), userId, lane: "bulk", item: "{}", ...why };
}

/** The rest of its `_id` is a hash of the key. */
export function keyRow(whose: Whose): Row {
	return { _id: Buffer.concat([whose.owner, randomBytes(12)]), alarm: idOf(whose), bodyHash: Buffer.alloc(8, 7) };
}

export function userRow(whose: Whose): Row {
	const { userId, owner, timeMs } = whose;
	const _id = userKey(userId);
	owner.copy(_id);
	return { _id, userId, readAll: new Date(timeMs), unread: [{ id: idOf(whose), category: "c" }] };
}

/** Databases of a test with service clusters and an archive cluster of its own. */
export class ErasableSystem {
	readonly clusters: Clusters;
	readonly #clients: Map<string, MongoClient>;

	constructor(servers: TestServers, clusters: Clusters) {
		this.clusters = clusters;
		const open = Object.entries(servers.mongods).map(
			([name, { uri }]) => [name, new MongoClient(uri, { promoteBuffers: true })] as const,
		);
		this.#clients = new Map(open);
	}

	client(cluster: string): MongoClient {
		const client = this.#clients.get(cluster);
		if (client === undefined) throw new Error(`no cluster ${cluster}`);
		return client;
	}

	async shardOf(userId: string): Promise<{ shard: number; cluster: string }> {
		const { shards } = await newestMap(this.clusters);
		const shard = shardOf(userHash(userId), shards.length);
		return { shard, cluster: shards[shard]?.cluster ?? "" };
	}

	/** Puts rows into a collection, which is made as its holding says if it is not there. */
	async put(
		cluster: string,
		database: string,
		collection: string,
		rows: Document[],
		entry?: CatalogEntry,
	): Promise<void> {
		if (entry !== undefined) await ensureCollection(this.clusters.at(cluster), database, collection, entry);
		await this.client(cluster).db(database).collection(collection).insertMany(rows);
	}

	/** A customer's rows in every kind of place of its shard, as `make` makes them of a moment of acceptance. */
	async fill(shard: number, home: string, other: string, make: (timeMs: number) => Whose, count = 3): Promise<void> {
		const nowMs = realNowMs();
		const [thisMonth, oldMonth] = [monthOf(nowMs), addMonths(monthOf(nowMs), -4)];
		const at = (ago: number) => make(nowMs - AGO_MS - ago);
		const old = (ago: number) => make(Date.parse(`${oldMonth.replace("_", "-")}-15`) + ago);
		const many = (row: (ago: number) => Row) => Array.from({ length: count }, (_, n) => row(n));
		const [own, archive] = [shardDatabase(shard), archiveDatabase(shard)];
		const inArchive = many((n) => alarmRow(old(n)));
		await this.put(
			home,
			own,
			alarmsOf(thisMonth),
			many((n) => alarmRow(at(n))),
		);
		await this.put(home, own, retainedArchiveOf(oldMonth), inArchive, SHARD_CATALOG.retained_archive);
		await this.put(
			home,
			own,
			keysOf(dayOf(nowMs)),
			many((n) => keyRow(at(n))),
		);
		await this.put(
			home,
			own,
			"failures",
			many((n) => failureRow(at(n))),
		);
		// Left behind on a cluster that the map does not name.
		await this.put(
			other,
			own,
			alarmsOf(oldMonth),
			many((n) => alarmRow(old(n))),
			SHARD_CATALOG.alarms,
		);
		await this.put("a0", archive, alarmsOf(oldMonth), inArchive, ARCHIVE_CATALOG.alarms);
		await this.put(
			"a0",
			archive,
			copyOf(oldMonth, 3),
			many((n) => alarmRow(old(n))),
			ARCHIVE_CATALOG.copy,
		);
	}

	/** A ledger row of today on a cluster. */
	async ledger(cluster: string, batch: string, ids: Buffer[], atMs = realNowMs() - AGO_MS): Promise<void> {
		const row = { _id: batch, lane: "realtime", ids: Buffer.concat(ids), stored: ids.length, at: new Date(atMs) };
		await this.put(cluster, "alarm_cluster", ledgerOf(dayOf(realNowMs())), [row]);
	}

	/** What a creating process says that it has promised. */
	async account(cluster: string, epoch: string, settled: number): Promise<void> {
		const row = { _id: `${epoch}:account`, epoch, settled, voids: [], from: 0, at: new Date(realNowMs() - AGO_MS) };
		await this.put(cluster, "alarm_cluster", ledgerOf(dayOf(realNowMs())), [row]);
	}

	async sayArrived(atMs: number): Promise<void> {
		await this.#documents().updateOne({ _id: "low-watermark" }, { $set: { atMs } }, { upsert: true });
	}

	/** Every row that is somebody's, byte by byte: by `c0/alarm_s03.users`, in the order of storage. */
	async everything(): Promise<Record<string, string[]>> {
		const all: Record<string, string[]> = {};
		for (const [cluster, client] of this.#clients) {
			const { databases } = await client.db().admin().listDatabases({ nameOnly: true });
			for (const { name } of databases.filter((one) => /^alarm_[sa]\d\d$|^alarm_cluster$/.test(one.name)))
				for (const [place, rows] of await rowsOf(client, name)) all[`${cluster}/${name}.${place}`] = rows;
		}
		return all;
	}

	/** Empties everything that {@link everything} tells of. */
	async clear(): Promise<void> {
		for (const place of Object.keys(await this.everything())) {
			const [, cluster = "", database = "", collection = ""] = /^(\w+)\/(\w+)\.(\w+)$/.exec(place) ?? [];
			await this.client(cluster).db(database).collection(collection).deleteMany({});
		}
		await this.#documents().deleteOne({ _id: "low-watermark" });
	}

	#documents() {
		return this.client("c0").db("alarm_meta").collection<Document & { _id: string }>("documents");
	}

	async close(): Promise<void> {
		await Promise.all([...this.#clients.values()].map((client) => client.close()));
	}
}

async function rowsOf(client: MongoClient, database: string): Promise<[string, string[]][]> {
	const names = await client.db(database).listCollections({}, { nameOnly: true }).toArray();
	const kept = names.filter(({ name }) => !/^(documents|leases|system\..*)$/.test(name));
	return Promise.all(
		kept.map(async ({ name }): Promise<[string, string[]]> => {
			const rows = await client.db(database).collection(name).find({}, { raw: true }).toArray();
			return [name, rows.map((row) => Buffer.from(row as unknown as Uint8Array).toString("hex"))];
		}),
	);
}
