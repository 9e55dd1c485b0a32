import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId, shardOf } from "../../domain/alarms/ids.ts";
import type { QueuedAlarm } from "../../domain/alarms/rows.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNowMs } from "../support/now.ts";
import { TestQueue } from "../support/queue.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

let system: TestSystem;
let queue: TestQueue;
let shards: TestShards;

beforeAll(async () => {
	system = await startSystem();
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
	await system.run("alarm.consume");
});
afterAll(async () => {
	await queue?.close();
	await shards?.close();
	await system?.stop();
});

const queued = (userId: string, more: object = {}): QueuedAlarm => ({
	producer: "demo",
	acceptedAtMs: realNowMs(),
	alarm: { userId, category: "card", title: "t", body: "b", ...more },
});
const idFor = (userId: string, aheadMs = 0) => newAlarmId(userId, realNowMs() + aheadMs);
const lineOf = (id: Buffer, userId: string, more: object = {}) => encodeItem(id, queued(userId, more)).line;
const drained = () => eventually(async () => (await queue.left()) === 0, "the lanes empty");
const isParked = (id: Buffer) =>
	eventually(async () => (await queue.parked("realtime")).has(shardOf(id, 16)), "parked");
const acked = () => eventually(async () => (await queue.inHand("realtime")) === 0, "the batch acked");

/** Customers whose shards are all different; the first few of `on` a cluster, if one is named. */
async function customers(name: string, count: number, on?: string): Promise<{ userId: string; id: Buffer }[]> {
	const found = new Map<number, { userId: string; id: Buffer }>();
	for (let n = 0; found.size < count; n++) {
		const userId = `${name}${n}`;
		const id = idFor(userId);
		if (on === undefined || (await shards.clusterOf(id)) === on) found.set(shardOf(id, 16), { userId, id });
	}
	return [...found.values()];
}

test("a batch over two fenced shards is parked for both and acked; the third shard's alarm is stored at once", async () => {
	const [one, two, free] = (await customers("fence", 3)) as [Customer, Customer, Customer];
	const fences = [await shards.fence(one.id), await shards.fence(two.id)];
	await queue.put("realtime", [one, two, free].map(({ id, userId }) => lineOf(id, userId)).join("\n"));
	await eventually(() => shards.slot(free.id), "the free shard's alarm");
	await isParked(one.id);
	await isParked(two.id);
	await acked();
	expect(await shards.slot(one.id)).toBeNull();
	for (const { lift } of fences) await lift();
	await drained();
	expect(await shards.slot(one.id)).toMatchObject({ userId: one.userId });
	expect(await shards.slot(two.id)).toMatchObject({ userId: two.userId });
});
type Customer = { userId: string; id: Buffer };

test("parked, drained and parked again within the memory of message ids: nothing is taken for a duplicate", async () => {
	const [{ id, userId }] = (await customers("again", 1)) as [Customer];
	for (let round = 0; round < 3; round++) {
		const own = newAlarmId(userId, realNowMs() + round);
		const fence = await shards.fence(own);
		await queue.put("realtime", lineOf(own, userId), 555);
		await isParked(own);
		await acked();
		await fence.lift();
		await drained();
		expect(await shards.slot(own)).toMatchObject({ userId });
	}
	expect(await shards.failure(id)).toBeNull();
});

test("an item without a readable id is parked under the id that it was given, and ends as one failure", async () => {
	const garbage = "this is no item, and its shard is fenced";
	const fences = await Promise.all((await customers("all", 16)).map(({ id }) => shards.fence(id)));
	await queue.put("realtime", garbage);
	await eventually(async () => (await queue.parked("realtime")).size > 0, "parked");
	for (const { lift } of fences) await lift();
	await drained();
	const kept = (await shards.all("failures")).filter(({ item }) => String(item).endsWith(garbage));
	expect(kept).toMatchObject([{ code: "CORRUPT_ITEM" }]);
	expect(await shards.slot(Buffer.from(kept[0]?._id))).toMatchObject({ outcome: "failed" });
});

test("a failure whose row cannot be stored is parked, not acked away; it ends as a failure", async () => {
	const [{ userId }] = (await customers("unkept", 1)) as [Customer];
	const id = idFor(userId, 300_000);
	const fence = await shards.fence(id, "failures");
	await queue.put("realtime", lineOf(id, userId));
	await isParked(id);
	expect(await shards.slot(id)).toMatchObject({ outcome: "failed" });
	expect(await shards.failure(id)).toBeNull();
	await fence.lift();
	await drained();
	expect(await shards.failure(id)).toMatchObject({ code: "CLOCK_SKEW" });
});

test("a cluster that stands still is parked; the other cluster's alarms are stored, and no failure is written", async () => {
	const [dark] = (await customers("dark", 1, "c1")) as [Customer];
	const [light] = (await customers("light", 1, "c0")) as [Customer];
	await freeze(system.servers.mongods.c1?.pid ?? 0);
	const ids: Customer[] = [];
	try {
		for (let n = 0; n < 20; n++) {
			const [own, other] = [newAlarmId(dark.userId, realNowMs() + n), newAlarmId(light.userId, realNowMs() + n)];
			ids.push({ id: own, userId: dark.userId });
			await queue.put("realtime", [lineOf(own, dark.userId), lineOf(other, light.userId)].join("\n"));
			await eventually(async () => shards.slot(other), "the other cluster's alarm");
		}
		await isParked(dark.id);
		await acked();
	} finally {
		thaw(system.servers.mongods.c1?.pid ?? 0);
	}
	await drained();
	for (const { id, userId } of ids) expect(await shards.slot(id)).toMatchObject({ userId });
	expect((await shards.all("failures")).filter(({ userId }) => userId === dark.userId)).toEqual([]);
});

test("while every database stands still nothing is parked or acked: it waits in the queue and is stored later", async () => {
	const [{ userId }] = (await customers("all-dark", 1)) as [Customer];
	const id = idFor(userId);
	const pids = Object.values(system.servers.mongods).map(({ pid }) => pid);
	for (const pid of pids) await freeze(pid);
	try {
		await queue.put("realtime", lineOf(id, userId));
		await eventually(() => queue.hasComeAgain("realtime"), "a second delivery");
		expect((await queue.parked("realtime")).size).toBe(0);
		expect(await queue.left()).toBe(1);
	} finally {
		pids.forEach(thaw);
	}
	await drained();
	expect(await shards.slot(id)).toMatchObject({ userId });
});

test("the ledger tells how many of a batch were parked", async () => {
	const [held, free] = (await customers("told", 2)) as [Customer, Customer];
	const fence = await shards.fence(held.id);
	await queue.put("realtime", [held, free].map(({ id, userId }) => lineOf(id, userId)).join("\n"), 888);
	await isParked(held.id);
	await fence.lift();
	await drained();
	const rows = (await shards.all("ledger_")).filter(({ _id }) => String(_id) === "test:000000000888");
	expect(rows).toMatchObject([{ stored: 1, parked: 1 }]);
});

test("a month that was dropped is never made again by an insert: its alarms are parked", async () => {
	const [{ id, userId }] = (await customers("dropped", 1)) as [Customer];
	const month = await shards.inMonth(id);
	await month.drop();
	await queue.put("realtime", lineOf(id, userId));
	await isParked(id);
	const database = shards.cluster(await shards.clusterOf(id)).db(month.dbName);
	expect(await database.listCollections({ name: month.collectionName }).toArray()).toEqual([]);
	expect(await queue.left()).toBe(1);
});
