import { alarmsOf, archiveDatabase, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { cancelMove } from "../../jobs/migrate/cancel-move.ts";
import { MOVE_STEPS } from "../../jobs/migrate/migration.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { fillMonth } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { realMonth } from "../support/now.ts";
import type { TestServers } from "../support/servers.ts";
import { rawRows, rowsOn } from "../support/shard-rows.ts";
import type { TestShards } from "../support/shards.ts";

/** Movers that are frozen behind each of their steps, and wake after another has brought their work to its end. */

const MONTH = realMonth(-1);
const SHARDS = 64;
/** Behind the last one there is nothing more to do. */
const beforeTheLast = <S>(steps: readonly S[]) => steps.slice(0, -1);

let databases: Databases;
let servers: TestServers;
let clusters: Clusters;
let shards: TestShards;
/** Each test has a shard of its own, on c0. */
let shard = -2;

beforeAll(async () => {
	databases = await startDatabases(SHARDS, MONTH);
	({ servers, clusters, shards } = databases);
});
afterAll(() => databases?.stop());
beforeEach(async () => {
	shard += 2;
	await fillMonth(clusters, await newestMap(clusters), shard, MONTH);
});

const placeNow = async () => (await newestMap(clusters)).shards[shard];

/** Freezes a mover behind the step, does its work, and wakes it: what it finds then it must not change. */
async function sleepThrough(
	order: { to: string } | { month: string },
	step: string,
	work: () => AsyncIterable<string>,
) {
	const sleeper = startMover(servers, { shard, ...order });
	await sleeper.until(step);
	await freeze(sleeper.pid);
	await shards.endLease(shard);
	for await (const _ of work());
	const place = await placeNow();
	thaw(sleeper.pid);
	expect(await sleeper.finish()).toBe("end LockLost");
	expect(await placeNow()).toEqual(place);
}

test.each(beforeTheLast(MOVE_STEPS))("a mover of a shard, after: %s", async (step) => {
	const before = await rowsOn(shards, shard, "c0");
	await sleepThrough({ to: "c1" }, step, () => moveShard(moveDeps(clusters, "test"), { run: "r", shard, to: "c1" }));
	expect(await placeNow()).toMatchObject({ cluster: "c1", retained: [{ cluster: "c0", settled: true }] });
	expect(await rowsOn(shards, shard, "c1")).toEqual(before);
});

test.each(beforeTheLast(MOVE_STEPS))("a mover of a shard that is given up meanwhile, after: %s", async (step) => {
	const before = await rowsOn(shards, shard, "c0");
	const isSwitched = MOVE_STEPS.indexOf(step) >= MOVE_STEPS.indexOf("switched");
	const work = { run: "r", shard, to: "c1" };
	await sleepThrough({ to: "c1" }, step, async function* () {
		if (yield* cancelMove(moveDeps(clusters, "test"), work)) return;
		yield* moveShard(moveDeps(clusters, "test"), work);
	});
	const [home, other] = isSwitched ? ["c1", "c0"] : ["c0", "c1"];
	expect((await placeNow())?.cluster).toBe(home);
	expect(await rowsOn(shards, shard, home)).toEqual(before);
	expect(await rowsOn(shards, shard, other)).toEqual({});
});

test.each(beforeTheLast(MOVE_STEPS))("a mover of a month, after: %s", async (step) => {
	const name = alarmsOf(MONTH);
	const before = await rawRows(shards.cluster("c0").db(shardDatabase(shard)).collection(name));
	const work = { run: "r", shard, month: MONTH };
	await sleepThrough({ month: MONTH }, step, () => archiveMonth(moveDeps(clusters, "test"), work));
	expect((await placeNow())?.collections[name]).toMatchObject({ tier: "archive", retained: { settled: true } });
	expect(await rawRows(shards.cluster("a0").db(archiveDatabase(shard)).collection(name))).toEqual(before);
});
