import { movedName, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { cancelMove } from "../../jobs/migrate/cancel-move.ts";
import { MOVE_STEPS } from "../../jobs/migrate/migration.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { fillMonth } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { realMonth } from "../support/now.ts";
import type { TestServers } from "../support/servers.ts";
import type { TestShards } from "../support/shards.ts";

/** Moves that were cut off anywhere, and are given up. */

const MONTH = realMonth(-1);
const SHARDS = 4;
const SHARD = 0;
const WORK = { run: "r", shard: SHARD, to: "c1" };

let databases: Databases;
let servers: TestServers;
let clusters: Clusters;
let shards: TestShards;

beforeAll(async () => {
	databases = await startDatabases(SHARDS, MONTH);
	({ servers, clusters, shards } = databases);
	await fillMonth(clusters, await newestMap(clusters), SHARD, MONTH);
});
afterAll(() => databases?.stop());

/** What the generator gives at its end. */
async function cancel(): Promise<boolean> {
	const steps = cancelMove(moveDeps(clusters, "test"), WORK);
	for (let next = await steps.next(); ; next = await steps.next()) if (next.done) return next.value;
}

const namesOn = async (cluster: string) =>
	(await shards.cluster(cluster).db(shardDatabase(SHARD)).listCollections({}, { nameOnly: true }).toArray()).map(
		({ name }) => name,
	);
const placeNow = async () => (await newestMap(clusters)).shards[SHARD];

test("cut off after any step before the switch, a move is given up without a trace; after it, it is not", async () => {
	const before = { ...(await placeNow()), epoch: expect.any(Number) };
	for (const step of MOVE_STEPS) {
		const mover = startMover(servers, { shard: SHARD, to: "c1" });
		await mover.until(step);
		await mover.kill();
		await shards.endLease(SHARD);
		if ((await placeNow())?.cluster === "c1") break;
		expect(await cancel()).toBe(true);
		expect(await namesOn("c1")).toEqual([]);
		expect(await shards.cluster("c0").db(shardDatabase(SHARD)).collection("moves").countDocuments()).toBe(0);
		expect(await placeNow()).toEqual(before);
	}
	expect(await cancel()).toBe(false);
	expect((await namesOn("c1")).filter((name) => movedName(name) === null).length).toBeGreaterThan(8);
	for await (const _ of moveShard(moveDeps(clusters, "test"), WORK));
	expect(await placeNow()).toMatchObject({ cluster: "c1", retained: [{ cluster: "c0", settled: true }] });
});
