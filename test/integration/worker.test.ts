import type { ServiceBroker } from "moleculer";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import type { QueuedAlarm } from "../../domain/alarms/rows.ts";
import { call } from "../../lib/moleculer/service.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNow, realNowMs } from "../support/now.ts";
import { TestQueue } from "../support/queue.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

let system: TestSystem;
let queue: TestQueue;
let shards: TestShards;
let query: ServiceBroker;

beforeAll(async () => {
	system = await startSystem();
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
	await system.run("alarm.consume");
	query = await system.run("alarm.query");
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
const askedAs = (auth: string, id: Buffer) =>
	call(query, "alarm.query.status", { id: id.toString("base64url") }, { meta: { auth } });
const statusOf = (id: Buffer) => askedAs(system.keys.opsKey, id);
const drained = () => eventually(async () => (await queue.left()) === 0, "the lanes empty");
const idFor = (userId: string, aheadMs = 0) => newAlarmId(userId, realNowMs() + aheadMs);

test("a batch that comes again is stored once, and acked", async () => {
	const id = idFor("twice");
	const line = encodeItem(id, queued("twice")).line;
	await queue.put("realtime", line, 1_000);
	await queue.put("realtime", line, 1_000);
	await drained();
	expect(await shards.slot(id)).toMatchObject({ userId: "twice", title: "t" });
	expect((await shards.all("alarms_")).filter(({ userId }) => userId === "twice")).toHaveLength(1);
});

test("a slot that is taken is obeyed: the first that came decides", async () => {
	const id = idFor("obey");
	await queue.put("realtime", encodeItem(id, queued("obey", { title: "first" })).line);
	await drained();
	await queue.put("realtime", encodeItem(id, queued("obey", { title: "second" })).line);
	await drained();
	expect(await shards.slot(id)).toMatchObject({ title: "first" });
});

test("an id of the future without sendAt ends as CLOCK_SKEW, with its item kept", async () => {
	const id = idFor("skew", 120_000);
	const { line } = encodeItem(id, queued("skew"));
	await queue.put("bulk", line);
	await drained();
	expect(await shards.slot(id)).toMatchObject({ outcome: "failed", why: { code: "CLOCK_SKEW" } });
	expect(await shards.slot(id)).not.toHaveProperty("userId");
	expect(await shards.failure(id)).toMatchObject({
		code: "CLOCK_SKEW",
		userId: "skew",
		producer: "demo",
		lane: "bulk",
		item: line,
	});
});

test("an alarm past its expiry becomes a tombstone and no failure", async () => {
	const id = idFor("expired");
	await queue.put(
		"realtime",
		encodeItem(id, queued("expired", { expiresAt: new Date(realNowMs() - 1_000).toISOString() })).line,
	);
	await drained();
	expect(await shards.slot(id)).toMatchObject({ outcome: "expired" });
	expect(await shards.failure(id)).toBeNull();
});

test("a broken item fails alone, by its id; the rest of its batch is stored", async () => {
	const [good, broken] = [idFor("good"), idFor("broken")];
	const torn = encodeItem(broken, queued("broken")).line.slice(0, -10);
	await queue.put("realtime", [torn, encodeItem(good, queued("good")).line].join("\n"));
	await drained();
	expect(await shards.slot(good)).toMatchObject({ userId: "good" });
	expect(await shards.slot(broken)).toMatchObject({ outcome: "failed", why: { code: "CORRUPT_ITEM" } });
	expect(await shards.failure(broken)).toMatchObject({ code: "CORRUPT_ITEM", item: torn });
	// Who sent it stood in what is torn: whoever knows the id may ask.
	expect(await askedAs(system.keys.producerKey, broken)).toMatchObject({
		status: "failed",
		why: { code: "CORRUPT_ITEM" },
	});
});

test("a row or a tombstone of another producer does not exist for one that asks", async () => {
	const [row, dead] = [idFor("foreign"), idFor("foreign", 120_000)];
	const item = { ...queued("foreign"), producer: "another" };
	await queue.put("realtime", [row, dead].map((id) => encodeItem(id, item).line).join("\n"));
	await drained();
	expect(await shards.slot(dead)).toMatchObject({ outcome: "failed", producer: "another" });
	for (const id of [row, dead])
		await expect(askedAs(system.keys.producerKey, id)).rejects.toMatchObject({ type: "UNKNOWN_ALARM" });
});

test("an item without a readable id is kept as a failure, once, however often it comes", async () => {
	const before = (await shards.all("failures")).length;
	await queue.put("realtime", "this is no item");
	await drained();
	const kept = (await shards.all("failures")).filter(({ item }) => item === "this is no item");
	expect(kept).toHaveLength(1);
	expect(await shards.all("failures")).toHaveLength(before + 1);
});

test("an alarm of a month without a collection fails as MONTH_CLOSED, and makes no collection", async () => {
	const id = idFor("old", -400 * 86_400_000);
	await queue.put("realtime", encodeItem(id, queued("old")).line);
	await drained();
	expect(await shards.failure(id)).toMatchObject({ code: "MONTH_CLOSED", userId: "old" });
	expect(await statusOf(id)).toMatchObject({ status: "failed", why: { code: "MONTH_CLOSED" } });
	const month = await shards.inMonth(id);
	expect(await shards.cluster("c0").db(month.dbName).listCollections({ name: month.collectionName }).toArray()).toEqual(
		[],
	);
});

test("an item that the driver cannot put into words fails alone, and the rest of its shard is stored", async () => {
	const [poison, good] = [idFor("poison"), idFor("poison")];
	const line = (id: Buffer, data: object) => encodeItem(id, queued("poison", { data })).line;
	await queue.put("realtime", [line(poison, { a: { _bsontype: "x" } }), line(good, { a: 1 })].join("\n"));
	await drained();
	expect(await shards.slot(good)).toMatchObject({ userId: "poison", data: { a: 1 } });
	expect(await shards.slot(poison)).toMatchObject({ outcome: "failed", why: { code: "STORE_REJECTED" } });
	expect(await shards.failure(poison)).toMatchObject({ code: "STORE_REJECTED", userId: "poison" });
});

test("a consumer that somebody has deleted is made again, and the work goes on", async () => {
	await queue.deleteConsumer("realtime");
	const id = idFor("deleted");
	await queue.put("realtime", encodeItem(id, queued("deleted")).line);
	await drained();
	expect(await shards.slot(id)).toMatchObject({ userId: "deleted" });
});

test("a crash between the tombstone and the failure row is made good by the redelivery", async () => {
	const id = idFor("crash", 120_000);
	const tombstone = {
		_id: id,
		outcome: "failed",
		why: { code: "CLOCK_SKEW", message: "m" },
		producer: "demo",
		at: realNow(),
	};
	await (await shards.inMonth(id)).insertOne(tombstone);
	await queue.put("realtime", encodeItem(id, queued("crash")).line);
	await drained();
	expect(await shards.failure(id)).toMatchObject({ code: "CLOCK_SKEW", message: "m", userId: "crash" });
});

test("every batch leaves one ledger row with its ids and counts", async () => {
	const ids = [idFor("ledger"), idFor("ledger"), idFor("ledger", 120_000)];
	await queue.put("realtime", ids.map((id) => encodeItem(id, queued("ledger")).line).join("\n"), 777);
	await drained();
	const rows = (await shards.all("ledger_")).filter(({ _id }) => String(_id).endsWith("777"));
	expect(rows).toMatchObject([{ _id: "test:000000000777", lane: "realtime", stored: 2, duplicate: 0, failed: 1 }]);
	expect(Buffer.from(rows[0]?.ids)).toEqual(Buffer.concat(ids));
});

test("a worker stops while the queue stands still", async () => {
	const broker = await system.run("alarm.consume");
	await freeze(system.servers.nats.pid);
	try {
		// The service alone: the broker would wait for its own connection to the bus.
		await broker.destroyService("alarm.consume");
	} finally {
		thaw(system.servers.nats.pid);
	}
});
