import { type CollectionInfo, MongoClient } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import {
	CLUSTER_CATALOG,
	catalogEntryOf,
	META_CATALOG,
	SHARD_CATALOG,
} from "../../domain/routing/collection-catalog.ts";
import { addMonths, dayOf, monthOf } from "../../domain/time/periods.ts";
import { guard } from "../../ops/embedded/guard.ts";
import { setUp } from "../../ops/system.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { publishLowWatermark } from "../../stores/routing/low-watermark.ts";
import { changeMap, newestMap } from "../../stores/routing/map-change.ts";
import { ensureCollections, ensureMap, MAP_ID } from "../../stores/routing/provision.ts";
import { loadDocument, replaceDocument } from "../../stores/routing/versioned-documents.ts";
import { eventually } from "../support/eventually.ts";
import { realMonth, realNow, realNowMs } from "../support/now.ts";
import { restClient } from "../support/rest.ts";
import { configOf } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let shards: TestShards;
let clusters: Clusters;

beforeAll(async () => {
	system = await startSystem();
	shards = new TestShards(system.servers);
	clusters = new Clusters(system.config);
});
afterAll(async () => {
	await clusters?.close();
	await shards?.close();
	await system?.stop();
});

test("sixteen shards are dealt over the clusters, each with this month and two more, yesterday's keys and those of three more days", async () => {
	const map = await shards.map();
	expect(map.shards).toHaveLength(16);
	expect(map.shards.map(({ cluster }) => cluster)).toEqual(Array.from({ length: 16 }, (_, shard) => `c${shard % 2}`));
	const months = [0, 1, 2].map((ahead) => `alarms_${realMonth(ahead)}`);
	const keys = [-1, 0, 1, 2].map((ahead) => `keys_${dayOf(realNowMs() + ahead * 86_400_000)}`);
	for (const { collections } of map.shards)
		expect(Object.keys(collections).sort()).toEqual([...months, ...keys, "failures", "moves", "users"].sort());
});

test("every collection is clustered, carries the UUID of the map, and months have small leaves", async () => {
	const map = await shards.map();
	for (const [shard, { cluster, collections }] of map.shards.entries()) {
		const database = shards.cluster(cluster).db(`alarm_s${String(shard).padStart(2, "0")}`);
		const found = (await database.listCollections().toArray()) as CollectionInfo[];
		for (const [name, { uuid }] of Object.entries(collections)) {
			const one = found.find((collection) => collection.name === name);
			expect(one?.options).toMatchObject({ clusteredIndex: { key: { _id: 1 } } });
			expect(one?.info?.uuid?.toString("hex")).toBe(uuid);
			if (name.startsWith("alarms_"))
				expect(one?.options).toMatchObject({ storageEngine: { wiredTiger: { configString: "leaf_page_max=8KB" } } });
		}
	}
});

test("no database holds a collection that is not in the one list", async () => {
	for (const name of ["c0", "c1"]) expect(await strangersOn(shards.cluster(name))).toEqual([]);
	await shards.cluster("c1").db("alarm_s01").createCollection("forgotten");
	expect(await strangersOn(shards.cluster("c1"))).toEqual(["alarm_s01.forgotten"]);
	await shards.cluster("c1").db("alarm_s01").dropCollection("forgotten");
});

test("set-up can run again, and by several at once, and changes nothing", async () => {
	const before = await shards.map();
	await Promise.all([
		setUp(system.config, undefined),
		setUp(system.config, undefined),
		setUp(system.config, undefined),
	]);
	expect(await shards.map()).toEqual(before);
});

test("many who change the map at the same time all come through, none for ever too late", async () => {
	const { version } = await newestMap(clusters);
	const changes = 6;
	const movers = Array.from({ length: 12 }, async () => {
		for (let one = 0; one < changes; one++) await changeMap(clusters, (map) => ({ ...map, version: map.version + 1 }));
	});
	await Promise.all(movers);
	expect((await newestMap(clusters)).version).toBe(version + movers.length * changes);
});

test("a start with another number of shards is refused and says which number to set", async () => {
	await expect(setUp(configOf(system.servers, { LOGICAL_SHARDS: "32" }), undefined)).rejects.toThrow(
		"set LOGICAL_SHARDS=16",
	);
	await expect(system.run("alarm.query", { LOGICAL_SHARDS: "8" })).rejects.toThrow(
		"LOGICAL_SHARDS is 8, but this system was set up with 16",
	);
});

test("the next month is made before it begins, and ledger days are dropped after a week", async () => {
	const map = await ensureMap(clusters, 16, realNow());
	const later = new Date(realNowMs() + 40 * 86_400_000);
	const { map: next, created } = await ensureCollections(clusters, map, later);
	const newest = `alarms_${addMonths(monthOf(later.getTime()), 2)}`;
	expect(next.version).toBe(map.version + 1);
	expect(created.filter((name) => name.endsWith(newest))).toHaveLength(16);
	const ledgers = await shards
		.cluster("c0")
		.db("alarm_cluster")
		.listCollections({ name: /^ledger_/ })
		.toArray();
	expect(ledgers.map(({ name }) => name).sort()).toEqual(
		Object.keys(next.clusters.c0?.collections ?? {})
			.filter((name) => name.startsWith("ledger_"))
			.sort(),
	);
	expect(ledgers).toHaveLength(3);
});

test("a key day is dropped when the low-watermark has passed its end by a day, and not before; without a watermark never", async () => {
	const DAY_MS = 86_400_000;
	const now = new Date(realNowMs() + 41 * DAY_MS);
	const past = await ensureCollections(clusters, await shards.map(), new Date(realNowMs() - 3 * DAY_MS));
	const oldest = await oldestKeyDay();
	const { map } = await ensureCollections(clusters, past.map, now);
	expect(await oldestKeyDay()).toBe(oldest);
	const enough = Date.parse(`${oldest.slice("keys_".length).replaceAll("_", "-")}T00:00:00Z`) + 2 * DAY_MS;
	await publishLowWatermark(clusters, enough - 1);
	await ensureCollections(clusters, map, now);
	expect(await oldestKeyDay()).toBe(oldest);
	await publishLowWatermark(clusters, enough);
	const { map: next } = await ensureCollections(clusters, map, now);
	expect(await oldestKeyDay()).toBe(`keys_${dayOf(enough - DAY_MS)}`);
	expect(Object.keys(next.shards[3]?.collections ?? {})).not.toContain(oldest);
	expect((await ensureCollections(clusters, next, now)).created).toEqual([]);
});

/** By what stands in the database of one shard, not by the map. */
async function oldestKeyDay(): Promise<string> {
	const found = await shards
		.cluster("c1")
		.db("alarm_s03")
		.listCollections({ name: /^keys_/ })
		.toArray();
	return found.map(({ name }) => name).sort()[0] ?? "none";
}

test("two changes of the same version: one wins, the other is told", async () => {
	const map = (await loadDocument<RoutingMap>(clusters, MAP_ID)) as RoutingMap;
	const next = { ...map, version: map.version + 1 };
	expect([await replaceDocument(clusters, MAP_ID, next), await replaceDocument(clusters, MAP_ID, next)]).toEqual([
		true,
		false,
	]);
});

test("the map is found on any cluster that answers, in its highest version", async () => {
	const map = (await loadDocument<RoutingMap>(clusters, MAP_ID)) as RoutingMap;
	const dead = "mongodb://127.0.0.1:1/?replicaSet=gone";
	const withoutMeta = new Clusters(configOf(system.servers, { MONGO_META_URI: dead }));
	expect(await loadDocument<RoutingMap>(withoutMeta, MAP_ID)).toEqual(map);
	await withoutMeta.close();
});

test("a new meta database takes over what the copies have", async () => {
	const map = (await loadDocument<RoutingMap>(clusters, MAP_ID)) as RoutingMap;
	const moved = configOf(system.servers, { MONGO_META_URI: system.servers.mongods.c1?.uri ?? "" });
	await setUp(moved, `${system.servers.dir}/credentials.json`);
	const fresh = new Clusters(moved);
	expect((await loadDocument<RoutingMap>(fresh, MAP_ID))?.shards).toEqual(map.shards);
	await ensureCollections(fresh, map, new Date(realNowMs() + 80 * 86_400_000));
	await fresh.close();
	const row = await shards
		.cluster("c1")
		.db("alarm_meta")
		.collection<{ _id: string; version: number }>("documents")
		.findOne({ _id: MAP_ID });
	expect(row?.version).toBeGreaterThan(map.version);
});

test("the router announces a new map, and an operator sees it", async () => {
	const broker = await system.run("gateway,shard.router");
	const operator = restClient(urlOf(broker), system.keys.opsKey);
	const { status, body } = await operator("GET", "/v1/ops/map");
	expect(status).toBe(200);
	expect(body.shards).toHaveLength(16);
	// The router's own upkeep may change the map at the same time.
	const version = await eventually(async () => {
		const map = (await loadDocument<RoutingMap>(clusters, MAP_ID)) as RoutingMap;
		return (await replaceDocument(clusters, MAP_ID, { ...map, version: map.version + 1 })) && map.version + 1;
	});
	await broker.broadcast("shard.map.changed", { version });
	await eventually(async () => (await operator("GET", "/v1/ops/map")).body.version >= version);
});

test("a cluster whose default write concern is below majority refuses the start and names the setting", async () => {
	const admin = shards.cluster("c1").db("admin");
	const setDefault = (w: number | string) =>
		admin.command({ setDefaultRWConcern: 1, defaultWriteConcern: { w }, writeConcern: { w: "majority" } });
	await setDefault(1);
	try {
		await expect(system.run("alarm.query")).rejects.toThrow(
			'c1 has the default write concern w: 1; it must be "majority"',
		);
	} finally {
		await setDefault("majority");
	}
});

test("a standalone mongod refuses the start and names the setting", async () => {
	const standalone = await startStandalone();
	await expect(system.run("alarm.query", { MONGO_META_URI: standalone.uri })).rejects.toThrow("is a standalone mongod");
	await standalone.stop();
});

async function strangersOn(client: MongoClient): Promise<string[]> {
	const strangers: string[] = [];
	const { databases } = await client.db().admin().listDatabases({ nameOnly: true });
	for (const { name } of databases) {
		const catalog = name.startsWith("alarm_s")
			? SHARD_CATALOG
			: { alarm_cluster: CLUSTER_CATALOG, alarm_meta: META_CATALOG }[name];
		if (catalog === undefined) continue;
		const collections = await client.db(name).listCollections({}, { nameOnly: true }).toArray();
		strangers.push(
			...collections.filter((one) => catalogEntryOf(catalog, one.name) === null).map((one) => `${name}.${one.name}`),
		);
	}
	return strangers;
}

async function startStandalone(): Promise<{ uri: string; stop(): Promise<void> }> {
	const { spawn } = await import("node:child_process");
	const { mkdir } = await import("node:fs/promises");
	const { join, resolve } = await import("node:path");
	const { freePort } = await import("../../ops/embedded/port.ts");
	const { findServer } = await import("../../ops/embedded/index.ts");
	const binary = await findServer("mongod", { runDir: resolve(".run"), say: () => undefined });
	const [dir, port] = [join(system.servers.dir, "standalone"), await freePort()];
	await mkdir(dir);
	const child = spawn(binary, ["--dbpath", dir, "--port", String(port), "--bind_ip", "127.0.0.1", "--nounixsocket"], {
		stdio: "ignore",
	});
	guard(child);
	const uri = `mongodb://127.0.0.1:${port}/`;
	await eventually(async () => {
		const client = new MongoClient(uri, { serverSelectionTimeoutMS: 200 });
		return client
			.db("admin")
			.command({ ping: 1 })
			.finally(() => client.close());
	});
	const ended = new Promise<void>((done) => child.once("exit", () => done()));
	return {
		uri,
		stop: () => {
			child.kill("SIGKILL");
			return ended;
		},
	};
}
