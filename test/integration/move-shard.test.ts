import type { CollectionInfo, Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { showId } from "../../domain/alarms/ids.ts";
import type { Slot } from "../../domain/alarms/rows.ts";
import { alarmsOf, keysOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardTarget, type Target } from "../../domain/routing/routing.ts";
import { dayOf } from "../../domain/time/periods.ts";
import { dropRetainedMoves } from "../../jobs/migrate/drop-moved-source.ts";
import { MOVE_STEPS, type MoveDeps, type MoveStep } from "../../jobs/migrate/migration.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { insertInto, updateOne } from "../../stores/mongo/commands.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { ensureCollections } from "../../stores/routing/provision.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { fillMonth, putRows, rowIn } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { realMonth, realNow, realNowMs } from "../support/now.ts";
import type { TestServers } from "../support/servers.ts";
import { type RowsByName, rowsOn as rowsIn, withoutLeft } from "../support/shard-rows.ts";
import type { TestShards } from "../support/shards.ts";

const MONTH = realMonth(-1);
const SHARDS = 32;
const MANY = { customers: 20, each: 40 };

let databases: Databases;
let servers: TestServers;
let clusters: Clusters;
let shards: TestShards;
/** Each test has a shard of its own; shards with an even number begin on c0. */
let shard = -2;
let map: RoutingMap;
let rows: Slot[];

beforeAll(async () => {
	databases = await startDatabases(SHARDS, MONTH);
	({ servers, clusters, shards } = databases);
});
afterAll(() => databases?.stop());
beforeEach(async () => {
	shard += 2;
	map = await newestMap(clusters);
	rows = await fillMonth(clusters, map, shard, MONTH, MANY);
	await insertInto(clusters, at("users"), [{ _id: Buffer.alloc(20, shard), userId: "u", readAll: realNow() }]);
	await insertInto(clusters, at("failures"), [{ _id: Buffer.alloc(20, shard), code: "X", failedAt: realNow() }]);
	const [keys = ""] = Object.keys(placeIn(map).collections).filter((name) => name.startsWith("keys_"));
	await insertInto(clusters, at(keys), [
		{ _id: Buffer.alloc(20, shard), alarm: Buffer.alloc(20), bodyHash: Buffer.alloc(32) },
	]);
});

const placeIn = ({ shards: all }: RoutingMap) => all[shard] as RoutingMap["shards"][number];
const at = (name: string) => shardTarget(map, shard, name) as Target;
const deps = (more: Partial<MoveDeps> = {}) => moveDeps(clusters, "test", more);
const placeNow = async () => placeIn(await newestMap(clusters));

async function move(
	to: string,
	more: Partial<MoveDeps> = {},
	during: (step: MoveStep) => Promise<void> | void = () => undefined,
) {
	const steps: MoveStep[] = [];
	for await (const step of moveShard(deps(more), { run: "r", shard, to })) {
		steps.push(step);
		await during(step);
	}
	return steps;
}

const rowsOn = (cluster: string, nameOf?: (name: string) => string) => rowsIn(shards, shard, cluster, nameOf);

/** Whatever happened before: the shard is on c1, equal to what it was, and what it has left may be dropped. */
async function expectMoved(before: RowsByName) {
	const place = await placeNow();
	expect(place).toMatchObject({ cluster: "c1", retained: [{ cluster: "c0", settled: true }] });
	expect(place.lock).toBeUndefined();
	expect(await rowsOn("c1")).toEqual(before);
	expect(await rowsOn("c0", withoutLeft)).toEqual(before);
	expect(await rowsOn("c0")).toEqual({});
	const database = shards.cluster("c1").db(shardDatabase(shard));
	for (const { name, info } of (await database.listCollections().toArray()) as CollectionInfo[])
		expect([name, info?.uuid?.toString("hex")]).toEqual([name, place.collections[name]?.uuid]);
}

test("a shard moves with all that it holds, byte by byte, with engines and indexes, and what it has left is renamed", async () => {
	const before = await rowsOn("c0");
	expect(Object.keys(before).length).toBeGreaterThan(8);
	expect(await move("c1")).toEqual([...MOVE_STEPS]);
	await expectMoved(before);
	const database = shards.cluster("c1").db(shardDatabase(shard));
	const indexes = await database.collection("failures").listIndexes().toArray();
	expect(indexes.map(({ name }) => name)).toContain("newest");
	const [month] = (await database.listCollections({ name: alarmsOf(MONTH) }).toArray()) as CollectionInfo[];
	expect(month?.options).toMatchObject({ storageEngine: { wiredTiger: { configString: "leaf_page_max=8KB" } } });
	expect(await move("c1")).toEqual([]);
});

test("what is written until the fence stands has moved, too: alarms, marks, customers, failures that are gone", async () => {
	const alarms = rows.filter((row) => "userId" in row);
	let next = 0;
	await move("c1", {}, async (step) => {
		if (["fenced", "drained", "switched", "renamed", "settled"].includes(step)) return;
		for (const { _id } of alarms.slice(next, next + 40))
			await updateOne(clusters, at(alarmsOf(MONTH)), { _id }, [{ $set: { readAt: realNow() } }]);
		next += 40;
		await putRows(clusters, map, shard, MONTH, [rowIn(MONTH, `late${next}`, next)]);
		await updateOne(clusters, at("users"), { _id: Buffer.alloc(20, next) }, { $set: { userId: `u${next}` } }, true);
		const failures = shards.cluster("c0").db(shardDatabase(shard)).collection<Document & { _id: Buffer }>("failures");
		await failures.deleteMany({});
		await failures.insertOne({ _id: Buffer.alloc(20, next), code: "Y", failedAt: realNow() });
	});
	const after = await rowsOn("c0", withoutLeft);
	expect(after[alarmsOf(MONTH)]).toHaveLength(rows.length + 4);
	expect(after.failures).toHaveLength(1);
	await expectMoved(after);
});

test("a mover that is killed after any of its steps is followed by one that goes on, and nothing is lost or doubled", async () => {
	const before = await rowsOn("c0");
	for (const step of MOVE_STEPS) {
		const mover = startMover(servers, { shard, to: "c1" });
		await mover.until(step);
		await mover.kill();
		await shards.endLease(shard);
	}
	await move("c1");
	await expectMoved(before);
});

describe("a mover that is frozen, and wakes after another has taken over, does no harm", () => {
	// After each of the others: test/faults/frozen.test.ts.
	test.each(["drained", "switched"])("after: %s", async (step) => {
		const before = await rowsOn("c0");
		const sleeper = startMover(servers, { shard, to: "c1" });
		await sleeper.until(step);
		await freeze(sleeper.pid);
		await shards.endLease(shard);
		await move("c1");
		const place = await placeNow();
		thaw(sleeper.pid);
		expect(await sleeper.finish()).toBe("end LockLost");
		expect(await placeNow()).toEqual(place);
		await expectMoved(before);
	});
});

test("a copied row that is spoiled is refused by name, and the shard stays where it is, writable", async () => {
	const before = await rowsOn("c0");
	const { _id } = rows[77] as Slot;
	const spoiled = move("c1", {}, async (step) => {
		if (step !== "copied") return;
		const database = shards.cluster("c1").db(shardDatabase(shard));
		const all = await database.listCollections({ name: new RegExp(alarmsOf(MONTH)) }).toArray();
		await database.collection<Document & { _id: Buffer }>(all[0]?.name ?? "").deleteOne({ _id });
	});
	await expect(spoiled).rejects.toThrow(showId(_id));
	expect(await placeNow()).toEqual({ ...placeIn(map), epoch: expect.any(Number) });
	expect(await rowsOn("c0")).toEqual(before);
	expect(await updateOne(clusters, at(alarmsOf(MONTH)), { _id }, [{ $set: { x: 1 } }, { $unset: "x" }])).toBe(true);
	for await (const _ of moveShard(deps(), { run: "r", shard, to: "c1", fresh: true }));
	await expectMoved(before);
});

test("a collection that is made while the shard moves is not left behind: the switch is not made, and the next try takes it along", async () => {
	const later = new Date(realNowMs() + 86_400_000);
	const cut = move("c1", {}, async (step) => {
		if (step === "drained") await ensureCollections(clusters, await newestMap(clusters), later);
	});
	await expect(cut).rejects.toMatchObject({ name: "Outgrown" });
	expect((await placeNow()).cluster).toBe("c0");
	await move("c1");
	expect(Object.keys((await placeNow()).collections)).toContain(keysOf(dayOf(later.getTime() + 2 * 86_400_000)));
	await expectMoved(await rowsOn("c0", withoutLeft));
});

test("there and back again, and what was left is dropped after its time", async () => {
	const before = await rowsOn("c0");
	await move("c1");
	await move("c0");
	expect(await placeNow()).toMatchObject({ cluster: "c0", retained: [{ cluster: "c0" }, { cluster: "c1" }] });
	expect(await rowsOn("c0")).toEqual(before);
	const hour = 3_600_000;
	expect((await dropRetainedMoves(deps(), hour)).dropped).toEqual([]);
	const { dropped, errors } = await dropRetainedMoves(deps({ nowMs: () => realNowMs() + hour }), hour);
	expect(errors).toEqual([]);
	expect(dropped.filter((name) => name.includes(`${shardDatabase(shard)}.retained_move_`)).length).toBeGreaterThan(16);
	expect((await placeNow()).retained).toBeUndefined();
	expect(await rowsOn("c0")).toEqual(before);
	expect(await rowsOn("c1", withoutLeft)).toEqual({});
});

test("a target that holds something of the shard already is refused, and nothing there is touched", async () => {
	const database = shards.cluster("c1").db(shardDatabase(shard));
	await database.createCollection("users");
	await database.collection("users").insertOne({ whose: "nobody's" });
	await expect(move("c1")).rejects.toMatchObject({ code: "TARGET_NOT_EMPTY" });
	const afresh = moveShard(deps(), { run: "r", shard, to: "c1", fresh: true }).next();
	await expect(afresh).rejects.toMatchObject({ code: "TARGET_NOT_EMPTY" });
	expect(await database.collection("users").countDocuments()).toBe(1);
});
