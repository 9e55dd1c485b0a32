import type { Collection, Document } from "mongodb";
import { encodeItem } from "../../domain/batch.ts";
import { newAlarmId } from "../../domain/ids.ts";
import { call } from "../../lib/service.ts";
import { eventually } from "../support/eventually.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

/** What was accepted long ago and still lies somewhere must never look as if it had not been issued. */

let system: TestSystem;
let shards: TestShards;

beforeAll(async () => {
	system = await startSystem();
	shards = new TestShards(system.servers);
});
afterAll(async () => {
	await shards?.close();
	await system?.stop();
});

const HOUR_MS = 3_600_000;

const watermark = async () => {
	const documents: Collection<Document & { _id: string }> = shards
		.cluster("c0")
		.db("alarm_meta")
		.collection("documents");
	return (await documents.findOne({ _id: "low-watermark" }))?.atMs as number | undefined;
};

test("an alarm that has lain in an outbox for an hour is pending, until it is stored", async () => {
	const sinceMs = Date.now() - HOUR_MS;
	const id = newAlarmId("late", sinceMs);
	const alarm = { userId: "late", category: "card", title: "t", body: "b" };
	const payload = Buffer.from(encodeItem(id, { producer: "demo", acceptedAtMs: sinceMs, alarm }).line);
	const rows: Collection<Document & { _id: string }> = shards.cluster("c1").db("alarm_cluster").collection("outbox");
	const row = { lane: "realtime", epoch: "gone", number: 1, sinceMs, payload };
	await rows.insertOne({ ...row, _id: `${String(sinceMs).padStart(15, "0")}:gone:1` });
	// Nobody relays: a worker and a query edge alone.
	await system.run("alarm.consume");
	const query = await system.run("alarm.query");
	expect(await eventually(watermark, "a watermark")).toBeLessThanOrEqual(sinceMs);
	const status = () =>
		call(query, "alarm.query.status", { id: id.toString("base64url") }, { meta: { auth: system.keys.opsKey } });
	expect(await status()).toMatchObject({ status: "pending" });
	await system.run("alarm.create");
	await eventually(async () => (await status()).status === "stored", "the alarm stored");
	await eventually(async () => ((await watermark()) ?? 0) > sinceMs, "the watermark gone on");
});
