import { type Document, MongoClient } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { idTimeMs, shardOf } from "../../domain/alarms/ids.ts";
import { alarmsOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { monthOf } from "../../domain/time/periods.ts";
import type { TestServers } from "./servers.ts";

/** Looks into the databases directly, past the service. */
export class TestShards {
	readonly #clients: Map<string, MongoClient>;

	constructor({ mongods }: TestServers) {
		this.#clients = new Map(
			Object.entries(mongods).map(([name, { uri }]) => [name, new MongoClient(uri, { promoteBuffers: true })]),
		);
	}

	cluster(name: string): MongoClient {
		const client = this.#clients.get(name);
		if (client === undefined) throw new Error(`no cluster ${name}`);
		return client;
	}

	async map(): Promise<RoutingMap> {
		const row = await this.cluster("c0")
			.db("alarm_meta")
			.collection<Document & { _id: string }>("documents")
			.findOne({ _id: "routing-map" });
		return row?.body as RoutingMap;
	}

	async inMonth(id: Buffer, kind = alarmsOf(monthOf(idTimeMs(id)))) {
		const map = await this.map();
		const shard = shardOf(id, map.shards.length);
		return this.cluster(map.shards[shard]?.cluster ?? "")
			.db(shardDatabase(shard))
			.collection<Document & { _id: Buffer }>(kind);
	}

	async clusterOf(id: Buffer): Promise<string> {
		const map = await this.map();
		return map.shards[shardOf(id, map.shards.length)]?.cluster ?? "";
	}

	/** Rejects every insert and update of the collection with the id's slot, or of another kind of its shard; `lift` ends it. */
	async fence(id: Buffer, kind?: string): Promise<{ lift(): Promise<unknown> }> {
		const { dbName, collectionName } = await this.inMonth(id, kind);
		const database = this.cluster(await this.clusterOf(id)).db(dbName);
		const set = (validator: object) => database.command({ collMod: collectionName, validator });
		await set({ $expr: false });
		return { lift: () => set({}) };
	}

	/** As if the time of whoever has a duty on the shard were over: a test need not wait for it, and a slow machine does not end it. */
	async endLease(shard: number): Promise<void> {
		for (const client of this.#clients.values()) {
			const leases = client.db("alarm_cluster").collection<Document & { _id: string }>("leases");
			await leases.updateOne({ _id: `shard-${shard}` }, { $set: { until: new Date(0) } });
		}
	}

	async slot(id: Buffer): Promise<Document | null> {
		return (await this.inMonth(id)).findOne({ _id: id });
	}

	async failure(id: Buffer): Promise<Document | null> {
		return (await this.inMonth(id, "failures")).findOne({ _id: id });
	}

	/** Every row of every collection that begins with `prefix`, over all clusters. */
	async all(prefix: string): Promise<Document[]> {
		const found = await Promise.all([...this.#clients.values()].map((client) => allOf(client, prefix)));
		return found.flat();
	}

	async close(): Promise<void> {
		await Promise.all([...this.#clients.values()].map((client) => client.close()));
	}
}

async function allOf(client: MongoClient, prefix: string): Promise<Document[]> {
	const rows: Document[] = [];
	const { databases } = await client.db().admin().listDatabases({ nameOnly: true });
	for (const { name } of databases.filter((database) => database.name.startsWith("alarm_"))) {
		const collections = await client.db(name).listCollections({}, { nameOnly: true }).toArray();
		for (const collection of collections.filter((one) => one.name.startsWith(prefix))) {
			rows.push(...(await client.db(name).collection(collection.name).find().toArray()));
		}
	}
	return rows;
}
