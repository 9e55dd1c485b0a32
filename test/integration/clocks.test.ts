import type { Collection, Document } from "mongodb";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { readinessOf } from "../../lib/moleculer/readiness.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { publishLowWatermark, readLowWatermark } from "../../stores/routing/low-watermark.ts";
import { eventually } from "../support/eventually.ts";
import { realNowMs } from "../support/now.ts";
import { startProcess } from "../support/processes.ts";
import { TestQueue } from "../support/queue.ts";
import { TestShards } from "../support/shards.ts";
import { skewedBy } from "../support/skew.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

/** A worker whose clock is wrong must not decide anything by it that cannot be undone. */

let system: TestSystem;
let queue: TestQueue;
let shards: TestShards;

beforeAll(async () => {
	system = await startSystem();
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
});
afterAll(async () => {
	await queue?.close();
	await shards?.close();
	await system?.stop();
});

const HOUR_MS = 3_600_000;

const workerWith = (nodeId: string, skewMs: number) =>
	startProcess(system.servers, nodeId, "alarm.consume", {
		LOG_LEVEL: "warn",
		...skewedBy(skewMs, system.servers.dir),
	});

test("a worker whose clock is an hour behind stores what was accepted just now, and says that its clock is wrong", async () => {
	const worker = await workerWith("slow", -HOUR_MS);
	try {
		const id = newAlarmId("slow", realNowMs());
		const alarm = { userId: "slow", category: "card", title: "t", body: "b" };
		await queue.put("realtime", encodeItem(id, { producer: "demo", acceptedAtMs: realNowMs(), alarm }).line);
		expect(await eventually(() => shards.slot(id), "the slot")).toMatchObject({ userId: "slow", title: "t" });
		await eventually(async () => worker.output().includes("this clock is"), "the warning");
	} finally {
		await worker.end("SIGTERM");
	}
});

describe("the low-watermark", () => {
	type Rows = Collection<Document & { _id: string }>;
	const documents = (): Rows => shards.cluster("c0").db("alarm_meta").collection("documents");
	const stored = async (): Promise<number | undefined> => (await documents().findOne({ _id: "low-watermark" }))?.atMs;
	const poison = (atMs: number) =>
		documents().updateOne({ _id: "low-watermark" }, { $set: { atMs } }, { upsert: true });
	let clusters: Clusters;

	beforeAll(() => {
		clusters = new Clusters(system.config);
	});
	beforeEach(() => documents().deleteOne({ _id: "low-watermark" }));
	afterAll(() => clusters?.close());

	test("of a worker whose clock is a day ahead is still a margin behind the database's clock", async () => {
		const worker = await workerWith("fast", 24 * HOUR_MS);
		try {
			expect(await eventually(stored, "a watermark")).toBeLessThanOrEqual(realNowMs() - 10_000);
		} finally {
			await worker.end("SIGTERM");
		}
	});

	test("that lies ahead is not read, and the next that is published takes its place", async () => {
		await poison(realNowMs() + HOUR_MS);
		expect(await readLowWatermark(clusters)).toBeNull();
		const soundMs = realNowMs() - HOUR_MS;
		await publishLowWatermark(clusters, soundMs);
		expect(await readLowWatermark(clusters)).toBe(soundMs);
	});

	test("is never moved back by a worker that is behind", async () => {
		const soundMs = realNowMs() - HOUR_MS;
		await publishLowWatermark(clusters, soundMs);
		await publishLowWatermark(clusters, soundMs - HOUR_MS);
		expect(await readLowWatermark(clusters)).toBe(soundMs);
	});
});

test("the readiness of a process with a worker tells of its clock", async () => {
	const worker = await system.run("alarm.consume");
	expect(readinessOf(worker).checks).toHaveProperty("clock");
});
