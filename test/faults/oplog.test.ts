import type { Timestamp } from "mongodb";
import { alarmsOf, archiveDatabase, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import type { MoveDeps } from "../../jobs/migrate/migration.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { eventually } from "../support/eventually.ts";
import { fillMonth } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { realMonth } from "../support/now.ts";
import type { TestServers } from "../support/servers.ts";
import { rowsOn } from "../support/shard-rows.ts";
import type { TestShards } from "../support/shards.ts";

/** Copies that were cut off, and gone on with when the oplog no longer reaches back to their beginning. */

const MONTH = realMonth(-1);
const SHARDS = 4;

let databases: Databases;
let servers: TestServers;
let clusters: Clusters;
let shards: TestShards;

beforeAll(async () => {
	databases = await startDatabases(SHARDS, MONTH);
	({ servers, clusters, shards } = databases);
});
afterAll(() => databases?.stop());

async function cutOff(order: { shard: number } & ({ month: string } | { to: string })): Promise<void> {
	const mover = startMover(servers, order);
	await mover.until("copied");
	await mover.kill();
	await shards.endLease(order.shard);
}

/** Tells the steps, and the troubles on the way. */
async function goOn(work: (deps: MoveDeps) => AsyncIterable<string>): Promise<[string[], string]> {
	const troubles: unknown[] = [];
	const steps: string[] = [];
	for await (const step of work(moveDeps(clusters, "test", { onError: (error) => troubles.push(error) })))
		steps.push(step);
	return [steps, troubles.map(String).join()];
}

test("a month and a shard whose changes the oplog has forgotten are copied anew", async () => {
	const map = await newestMap(clusters);
	const rows = await fillMonth(clusters, map, 0, MONTH);
	await fillMonth(clusters, map, 2, MONTH);
	const before = await rowsOn(shards, 2, "c0");
	await cutOff({ shard: 0, month: MONTH });
	await cutOff({ shard: 2, to: "c1" });
	await rollOplog("c0");
	const [archived, monthTroubles] = await goOn((deps) => archiveMonth(deps, { run: "r", shard: 0, month: MONTH }));
	const [moved, shardTroubles] = await goOn((deps) => moveShard(deps, { run: "r", shard: 2, to: "c1" }));
	for (const troubles of [monthTroubles, shardTroubles]) expect(troubles).toContain("the oplog no longer reaches back");
	for (const steps of [archived, moved]) expect(steps.filter((step) => step === "taken")).toHaveLength(2);
	const archive = shards.cluster("a0").db(archiveDatabase(0)).collection(alarmsOf(MONTH));
	expect(await archive.countDocuments()).toBe(rows.length);
	const home = shards.cluster("c0").db(shardDatabase(0));
	expect(await home.listCollections({ name: alarmsOf(MONTH) }).toArray()).toEqual([]);
	expect((await newestMap(clusters)).shards[2]?.cluster).toBe("c1");
	expect(await rowsOn(shards, 2, "c1")).toEqual(before);
}, 180_000);

/** Writes until the oplog's first entry is younger than now; what is behind the last checkpoint, one a minute, is kept for a recovery. */
async function rollOplog(name: string): Promise<void> {
	const client = shards.cluster(name);
	const { operationTime } = await client.db("admin").command({ ping: 1 });
	const junk = () => Array.from({ length: 4 }, () => ({ bytes: Buffer.alloc(1024 * 1024) }));
	const isOver = async () => {
		await client.db("junk").collection("junk").insertMany(junk());
		const [first] = await client.db("local").collection("oplog.rs").find().sort({ $natural: 1 }).limit(1).toArray();
		return (first as unknown as { ts: Timestamp }).ts.comp(operationTime as Timestamp) > 0;
	};
	await eventually(isOver, "the oplog rolled over", 120_000);
	await client.db("junk").dropDatabase();
}
