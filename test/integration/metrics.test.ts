import type { ServiceBroker } from "moleculer";
import { connect } from "nats";
import type { Lag } from "../../contracts/lag.ts";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { CLUSTER_DATABASE } from "../../domain/routing/collection-catalog.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { eventually } from "../support/eventually.ts";
import { only, type Series, scrape } from "../support/exposition.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNowMs } from "../support/now.ts";
import { type ServiceProcess, startProcess } from "../support/processes.ts";
import { TestQueue } from "../support/queue.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let queue: TestQueue;
let shards: TestShards;
let edge: ServiceBroker;
let ops: ServiceBroker;
let operator: Rest;
let worker: ServiceProcess;
let workerUrl: string;

beforeAll(async () => {
	system = await startSystem();
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
	edge = await system.run("gateway,alarm.create");
	ops = await system.run("gateway,shard.router");
	operator = restClient(urlOf(ops), system.keys.opsKey);
	const port = await freePort();
	workerUrl = `http://127.0.0.1:${port}`;
	worker = await startProcess(system.servers, "metrics-worker", "alarm.consume", { METRICS_PORT: String(port) });
});
afterAll(async () => {
	await worker?.end("SIGTERM");
	await queue?.close();
	await shards?.close();
	await system?.stop();
});

const good = { userId: "m1", category: "card", title: "t", body: "b" };
const drained = () => eventually(async () => (await queue.left()) === 0, "the lanes empty");
const lagNow = async (): Promise<Lag> => (await operator("GET", "/v1/ops/lag")).body;

/** The lag once it is as expected: an answer may be a second old. */
async function lagWhen(is: (lag: Lag) => boolean, what: string): Promise<Lag> {
	return eventually(async () => [await lagNow()].filter(is)[0], what);
}

async function scrapeWhen(url: string, is: (series: Series) => boolean, what: string): Promise<Series> {
	return eventually(async () => [await scrape(url)].filter(is)[0], what);
}

function item(acceptedAtMs: number, id = newAlarmId("planted", realNowMs())): string {
	const alarm = { ...good, userId: "planted" };
	return encodeItem(id, { producer: "demo", acceptedAtMs, alarm }).line;
}

test("an edge tells what it has accepted and refused, by lane, way and code", async () => {
	const producer = restClient(urlOf(edge), system.keys.producerKey);
	for (const lane of ["realtime", "bulk", undefined]) await producer("POST", "/v1/alarms", { ...good, lane });
	const alarms = [good, good, { ...good, lane: "realtime" }, { ...good, title: "" }, { ...good, lane: "no lane" }, 7];
	expect(await producer("POST", "/v1/alarms/bulk", { alarms })).toMatchObject({ status: 207, body: { accepted: 3 } });
	expect((await producer("POST", "/v1/alarms", { ...good, strange: 1 })).status).toBe(422);
	expect((await restClient(urlOf(edge), system.keys.opsKey)("POST", "/v1/alarms", good)).status).toBe(403);
	const series = await scrape(urlOf(edge));
	expect(only(series, "alarm_")).toEqual({
		'alarm_accepted_total{lane="realtime",via="queue"}': 3,
		'alarm_accepted_total{lane="bulk",via="queue"}': 3,
		'alarm_rejected_total{lane="bulk",code="VALIDATION_FAILED"}': 3,
		'alarm_rejected_total{lane="realtime",code="VALIDATION_FAILED"}': 1,
		'alarm_rejected_total{lane="realtime",code="FORBIDDEN"}': 1,
	});
});

test("a process tells how busy its event loop is, and its memory", async () => {
	const series = await scrape(urlOf(edge));
	expect(series).toMatchObject({
		nodejs_eventloop_lag_p99_seconds: expect.any(Number),
		nodejs_eventloop_utilization: expect.any(Number),
	});
	expect(series.nodejs_heap_size_used_bytes).toBeGreaterThan(0);
	expect(series.process_resident_memory_bytes).toBeGreaterThan(0);
});

test("a worker tells what it has stored and how late, on a port of its own", async () => {
	await drained();
	const before = await scrape(workerUrl);
	expect(before['alarm_delay_seconds_count{lane="realtime"}']).toBe(3);
	expect(before['alarm_delay_seconds_count{lane="bulk"}']).toBe(3);
	const twice = item(realNowMs());
	for (const payload of [twice, item(realNowMs() - 90_000), "this is no item"]) await queue.put("bulk", payload);
	await drained();
	await queue.put("bulk", twice);
	await drained();
	const series = await scrape(workerUrl);
	expect(only(series, "alarm_stored_total")).toEqual({
		'alarm_stored_total{lane="realtime",outcome="stored"}': 3,
		'alarm_stored_total{lane="bulk",outcome="stored"}': 5,
		'alarm_stored_total{lane="bulk",outcome="failed"}': 1,
		'alarm_stored_total{lane="bulk",outcome="duplicate"}': 1,
	});
	// Neither the one without a time nor the one whose slot was taken counts; the late one is in its bucket.
	expect(series['alarm_delay_seconds_count{lane="bulk"}']).toBe(5);
	expect(series['alarm_delay_seconds_bucket{lane="bulk",le="60"}']).toBe(4);
	expect(series['alarm_delay_seconds_bucket{lane="bulk",le="300"}']).toBe(5);
	expect(series['alarm_delay_seconds_bucket{lane="bulk",le="+Inf"}']).toBe(5);
	expect(series['alarm_delay_seconds_sum{lane="bulk"}']).toBeGreaterThanOrEqual(90);
});

test("only an operator is told the lag, over REST and on the bus", async () => {
	const producer = restClient(urlOf(ops), system.keys.producerKey);
	expect((await producer("GET", "/v1/ops/lag")).status).toBe(403);
	expect((await restClient(urlOf(ops))("GET", "/v1/ops/lag")).status).toBe(401);
	await ops.waitForServices("alarm.consume");
	await expect(ops.call("alarm.consume.delays", {})).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
});

test("the lag adds up the delays of every worker, over the bus", async () => {
	const second = await system.run("alarm.consume");
	await lagWhen(({ workers }) => workers.length === 2, "both workers");
	for (let at = 0; at < 20; at++) await queue.put("realtime", item(realNowMs()));
	await drained();
	const lag = await lagWhen(({ lanes }) => lanes.realtime.delay.count >= 23, "the delays");
	expect(lag.lanes.realtime.delay).toMatchObject({ count: 23, p50Ms: expect.any(Number), p99Ms: expect.any(Number) });
	expect(lag.lanes.bulk.delay).toMatchObject({ count: 5 });
	expect(lag.lanes.bulk.delay.maxMs).toBeGreaterThanOrEqual(90_000);
	expect(lag.workers).toEqual(["metrics-worker", second.nodeID].sort());
	await second.stop();
	await lagWhen(({ workers }) => workers.length === 1, "the second worker gone");
});

test("a failure is counted and timed once, however often it comes; its ledger rows all call it failed", async () => {
	const before = await scrape(workerUrl);
	const late = item(realNowMs(), newAlarmId("late", realNowMs() + 300_000));
	for (const number of [901, 902, 903]) {
		await queue.put("realtime", late, number);
		await drained();
	}
	const series = await scrape(workerUrl);
	const more = (name: string) => (series[name] ?? 0) - (before[name] ?? 0);
	expect(more('alarm_stored_total{lane="realtime",outcome="failed"}')).toBe(1);
	expect(more('alarm_stored_total{lane="realtime",outcome="duplicate"}')).toBe(2);
	expect(more('alarm_delay_seconds_count{lane="realtime"}')).toBe(1);
	const rows = (await shards.all("ledger_")).filter(({ _id }) => /:0+90[123]$/.test(String(_id)));
	expect(rows.map(({ failed, duplicate }) => [failed, duplicate])).toEqual([1, 2, 3].map(() => [1, 0]));
});

test("with NATS frozen the lag answers all the same, and says what does not", async () => {
	await lagWhen(({ unavailable }) => unavailable.length === 0, "everything there");
	await freeze(system.servers.nats.pid);
	try {
		const lag = await lagWhen(({ unavailable }) => unavailable.includes("queue"), "the queue missed");
		expect(lag.unavailable).toEqual(["queue", "worker metrics-worker"]);
		expect(lag).toMatchObject({ workers: [], lanes: { realtime: { batches: null } }, oldestPendingAgeMs: null });
		expect(lag.lowWatermark).not.toBeNull();
		expect(lag.outbox).toMatchObject([{ cluster: "c0" }, { cluster: "c1" }]);
		const missed = 'alarm_unavailable_parts{part="queue"}';
		const series = await scrapeWhen(urlOf(ops), (now) => now[missed] === 1, "a scrape that misses the queue");
		expect(only(series, "alarm_queue_batches")).toEqual({});
	} finally {
		thaw(system.servers.nats.pid);
	}
	await lagWhen(({ unavailable }) => unavailable.length === 0, "everything there again");
});

describe("what waits", () => {
	beforeAll(async () => {
		// Whoever would take it is gone: what is planted stays.
		await edge.stop();
		await worker.end("SIGTERM");
		await drained();
		await plantParked("realtime", 3, 2);
		await plantParked("realtime", 3, 1, -60_000);
		await plantParked("bulk", 11, 1);
		await queue.put("bulk", item(realNowMs()));
		await plantOutbox("c0", realNowMs() - 600_000, 2);
	});

	test("stands in the lag, by lane, shard and cluster", async () => {
		const lag = await lagWhen(({ parked, workers }) => parked.length === 2 && workers.length === 0, "what was planted");
		expect(lag.parked).toEqual([
			{ lane: "realtime", shard: 3, batches: 3 },
			{ lane: "bulk", shard: 11, batches: 1 },
		]);
		expect(lag.lanes).toMatchObject({
			realtime: { batches: 0, parkedBatches: 3 },
			bulk: { batches: 1, parkedBatches: 1 },
		});
		expect(lag.outbox).toMatchObject([
			{ cluster: "c0", batches: 2 },
			{ cluster: "c1", batches: 0, bytes: 0, oldestAgeMs: null },
		]);
		expect(lag.oldestPendingAgeMs).toBeGreaterThanOrEqual(600_000);
		expect(lag.unavailable).toEqual(["workers"]);
	});

	test("stands in the metrics of the router", async () => {
		const planted = 'alarm_queue_batches{lane="bulk"}';
		const series = await scrapeWhen(urlOf(ops), (now) => now[planted] === 1, "the planted batch");
		expect(only(series, "alarm_parked_batches")).toEqual({
			'alarm_parked_batches{lane="realtime",shard="3"}': 3,
			'alarm_parked_batches{lane="bulk",shard="11"}': 1,
		});
		expect(only(series, "alarm_outbox_batches")).toEqual({
			'alarm_outbox_batches{cluster="c0"}': 2,
			'alarm_outbox_batches{cluster="c1"}': 0,
		});
		expect(series['alarm_outbox_bytes{cluster="c0"}']).toBeGreaterThan(2 * 100);
		expect(series.alarm_oldest_pending_seconds).toBeGreaterThanOrEqual(600);
		expect(series.alarm_low_watermark_seconds).toBeGreaterThanOrEqual(10);
		expect(only(series, "alarm_unavailable_parts")).toEqual({});
	});

	async function plantParked(lane: string, shard: number, count: number, agoMs = 0): Promise<void> {
		const connection = await connect({ servers: system.servers.nats.url });
		const minute = Math.floor((realNowMs() + agoMs) / 60_000);
		for (let at = 0; at < count; at++) {
			await connection.jetstream().publish(`alarm.${lane}.parked.${shard}.${minute}`, item(realNowMs()));
		}
		await connection.close();
	}

	async function plantOutbox(cluster: string, sinceMs: number, count: number): Promise<void> {
		const rows = Array.from({ length: count }, (_, at) => ({
			_id: `realtime:${String(sinceMs + at).padStart(15, "0")}:planted:${at}`,
			lane: "realtime",
			sinceMs: sinceMs + at,
			payload: Buffer.alloc(100),
		}));
		await shards.cluster(cluster).db(CLUSTER_DATABASE).collection<{ _id: string }>("outbox").insertMany(rows);
	}
});

test("the ops role starts and is ready while NATS is frozen, says that the queue is away, and sees it when it comes", async () => {
	await freeze(system.servers.nats.pid);
	let late: ServiceBroker;
	let lagOfLate: () => Promise<Lag>;
	try {
		late = await system.run("gateway,shard.router");
		const caller = restClient(urlOf(late), system.keys.opsKey);
		lagOfLate = async () => (await caller("GET", "/v1/ops/lag")).body;
		await eventually(async () => (await caller("GET", "/health/ready")).status === 200, "ready");
		expect(await lagOfLate()).toMatchObject({ unavailable: ["queue", "workers"] });
	} finally {
		thaw(system.servers.nats.pid);
	}
	await eventually(async () => !(await lagOfLate()).unavailable.includes("queue"), "the queue");
	await eventually(() => (late as unknown as { transit: { connected: boolean } }).transit.connected, "the bus");
});

test("a process whose metrics port is taken does not start, and says so", async () => {
	const taken = new URL(urlOf(ops)).port;
	await expect(system.run("shard.router", { METRICS_PORT: taken })).rejects.toThrow(
		`METRICS_PORT ${taken} cannot be used`,
	);
});
