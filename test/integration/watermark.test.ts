import type { ServiceBroker } from "moleculer";
import type { Collection, Document } from "mongodb";
import { connect } from "nats";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId, shardOf } from "../../domain/alarms/ids.ts";
import { call } from "../../lib/moleculer/service.ts";
import type { HasRouting } from "../../mixins/routing.mixin.ts";
import { parkedSubject } from "../../streams/lanes.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNowMs } from "../support/now.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

/** What was accepted long ago and still lies somewhere must never look as if it had not been issued. */

let system: TestSystem;
let shards: TestShards;

// Each with a system of its own: the watermark never moves back.
beforeEach(async () => {
	system = await startSystem();
	shards = new TestShards(system.servers);
});
afterEach(async () => {
	await shards?.close();
	await system?.stop();
});

const HOUR_MS = 3_600_000;
type Rows = Collection<Document & { _id: string }>;

async function watermark(): Promise<number | undefined> {
	const documents: Rows = shards.cluster("c0").db("alarm_meta").collection("documents");
	return (await documents.findOne({ _id: "low-watermark" }))?.atMs;
}

const statusAt = (query: ServiceBroker, id: Buffer) =>
	call(query, "alarm.query.status", { id: id.toString("base64url") }, { meta: { auth: system.keys.opsKey } });

/** An alarm that was accepted an hour ago, as it stands in a batch. */
function oldAlarm(userId = "late"): { id: Buffer; sinceMs: number; payload: Buffer } {
	const sinceMs = realNowMs() - HOUR_MS;
	const id = newAlarmId(userId, sinceMs);
	const alarm = { userId, category: "card", title: "t", body: "b" };
	return { id, sinceMs, payload: Buffer.from(encodeItem(id, { producer: "demo", acceptedAtMs: sinceMs, alarm }).line) };
}

/** With a worker and a query edge alone: nobody relays. */
async function expectPending({ id, sinceMs }: { id: Buffer; sinceMs: number }): Promise<ServiceBroker> {
	await system.run("alarm.consume");
	const query = await system.run("alarm.query");
	expect(await eventually(watermark, "a watermark")).toBeLessThanOrEqual(sinceMs);
	expect(await statusAt(query, id)).toMatchObject({ status: "pending" });
	return query;
}

async function expectStored(query: ServiceBroker, { id, sinceMs }: { id: Buffer; sinceMs: number }): Promise<void> {
	await eventually(async () => (await statusAt(query, id)).status === "stored", "the alarm stored");
	await eventually(async () => ((await watermark()) ?? 0) > sinceMs, "the watermark gone on");
}

test("an alarm that has lain in an outbox for an hour is pending, until it is stored", async () => {
	const old = oldAlarm();
	const rows: Rows = shards.cluster("c1").db("alarm_cluster").collection("outbox");
	const _id = `realtime:${String(old.sinceMs).padStart(15, "0")}:gone:1`;
	await rows.insertOne({ _id, lane: "realtime", epoch: "gone", number: 1, sinceMs: old.sinceMs, payload: old.payload });
	const query = await expectPending(old);
	await system.run("alarm.create");
	await expectStored(query, old);
});

async function putParked({ id, sinceMs, payload }: ReturnType<typeof oldAlarm>): Promise<void> {
	const connection = await connect({ servers: system.servers.nats.url });
	await connection.jetstream().publish(parkedSubject("realtime", shardOf(id, 16), sinceMs), payload);
	await connection.close();
}

test("an alarm that has been parked for an hour is pending, until it is stored", async () => {
	const old = oldAlarm();
	const fence = await shards.fence(old.id);
	await putParked(old);
	const query = await expectPending(old);
	await fence.lift();
	await expectStored(query, old);
});

test("what is parked for one cluster is drained while another stands still, before the driver gives that one up", async () => {
	const worker = await system.run("alarm.consume");
	await eventually(watermark, "a watermark");
	const all = Array.from({ length: 50 }, (_, n) => oldAlarm(`c${n}`));
	const places = await Promise.all(all.map(({ id }) => shards.clusterOf(id)));
	const onFirst = all[places.indexOf("c0")] as (typeof all)[number];
	const pid = system.servers.mongods.c1?.pid ?? 0;
	// The worker's own connections: they give the cluster up all at once.
	const { clusters } = worker.getLocalService("alarm.consume") as unknown as HasRouting;
	const ask = () => clusters.at("c1").read("alarm_cluster", { find: "outbox", limit: 1 });
	await freeze(pid);
	try {
		const givenUp = ask().catch(() => "given up");
		await putParked(onFirst);
		const stored = eventually(() => shards.slot(onFirst.id), "the slot").then(() => "drained");
		expect(await Promise.race([givenUp, stored])).toBe("drained");
	} finally {
		thaw(pid);
	}
});
