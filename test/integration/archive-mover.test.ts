import type { ServiceBroker } from "moleculer";
import type { ArchivePlan, ArchiveState, Run, RunAnswer } from "../../contracts/archive.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { toRow } from "../../domain/alarms/rows.ts";
import { alarmsOf } from "../../domain/routing/collection-catalog.ts";
import { addMonths, monthEndMs, monthOf, monthStartMs } from "../../domain/time/periods.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { eventually } from "../support/eventually.ts";
import { only, scrape } from "../support/exposition.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { customersOf, fillMonth, putRows } from "../support/months.ts";
import { moveDeps } from "../support/movers.ts";
import { realMonth, realNowMs } from "../support/now.ts";
import { startProcess } from "../support/processes.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { skewedBy } from "../support/skew.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** The mover as operators meet it: plans, runs on record, and what becomes of them. */

const SHARDS = 4;
const OLD = realMonth(-5);
const DUE = [OLD, addMonths(OLD, 1)];
const ROWS = 500;
/** Of the calendar, so that the month after is not due on any day. */
const daysSince = (month = "") => Math.floor((realNowMs() - monthEndMs(month)) / 86_400_000) - 2;
const SETTINGS = {
	LOGICAL_SHARDS: String(SHARDS),
	SERVICE_DAYS: String(daysSince(DUE[1])),
	ARCHIVE_EVERY_MINUTES: "0",
};

let system: TestSystem;
let clusters: Clusters;
let shards: TestShards;
let ops: ServiceBroker;
let operator: Rest;

beforeAll(async () => {
	system = await startSystem(SETTINGS, { names: ["c0", "c1", "a0"], since: new Date(monthStartMs(OLD)) });
	clusters = new Clusters(system.config);
	shards = new TestShards(system.servers);
	const map = await newestMap(clusters);
	for (const month of DUE) for (let shard = 0; shard < SHARDS; shard++) await fillMonth(clusters, map, shard, month);
	ops = await system.run("gateway,shard.router,archive.mover");
	operator = restClient(urlOf(ops), system.keys.opsKey);
	// The record of runs is reached in the background.
	await eventually(async () => (await operator("GET", "/v1/ops/archive/runs")).status === 200, "the record of runs");
});
afterAll(async () => {
	await shards?.close();
	await clusters?.close();
	await system?.stop();
});

const plan = async (): Promise<ArchivePlan> => (await operator("GET", "/v1/ops/archive/plan")).body;
const ask = async (body: object): Promise<RunAnswer> => (await operator("POST", "/v1/ops/archive/run", body)).body;
const runOf = async (id: string): Promise<Run> => (await operator("GET", `/v1/ops/archive/runs/${id}`)).body;
const status = async (): Promise<ArchiveState> => (await operator("GET", "/v1/ops/archive")).body;
const idOf = (shard: number, month = OLD) => `archive-s0${shard}-${month}`;
const codes = ({ kept }: ArchivePlan) => kept.map(({ month, reason }) => `${month} ${reason.code}`);
const documents = () => shards.cluster("c0").db("alarm_meta").collection<{ _id: string }>("documents");
const putWatermark = (atMs: number) =>
	documents().updateOne({ _id: "low-watermark" }, { $set: { atMs } }, { upsert: true });

/** An alarm on each cluster that was stored at that moment. */
async function store(timeMs: number): Promise<void> {
	for (const shard of [0, 1]) {
		const [userId = ""] = customersOf(shard, 1, SHARDS);
		const alarm = { userId, category: "card", title: "t", body: "b" };
		const row = toRow(newAlarmId(userId, timeMs), { producer: "demo", acceptedAtMs: timeMs, alarm });
		await putRows(clusters, await newestMap(clusters), shard, monthOf(timeMs), [row]);
	}
}

describe("a system without an alarm of the last week", () => {
	test("has a clock that is in doubt: nothing is planned, and the plan says how to go on", async () => {
		await putWatermark(realNowMs() - 10_000);
		const { refused, due } = await plan();
		expect([refused?.code, due]).toEqual(["CLOCK_DOUBTFUL", []]);
		expect(refused?.message).toContain("trustClock");
		const { status: code, body } = await operator("POST", "/v1/ops/archive/run", {});
		expect([code, body.begun, body.plan.refused.code]).toEqual([200, [], "CLOCK_DOUBTFUL"]);
		expect((await operator("GET", "/v1/ops/archive/runs")).body).toEqual({ runs: [] });
	});
});

describe("a plan", () => {
	beforeAll(() => store(realNowMs() - 1_000));

	test("holds back what the low-watermark has not passed", async () => {
		await putWatermark(monthEndMs(OLD) + 1);
		const found = await plan();
		expect(found.due.map(({ month }) => month)).toEqual(Array(SHARDS).fill(OLD));
		expect(codes(found)).toEqual([`${DUE[1]} WATERMARK_BEHIND`]);
		await documents().deleteOne({ _id: "low-watermark" });
		expect(codes(await plan())).toEqual(DUE.map((month) => `${month} WATERMARK_BEHIND`));
		await putWatermark(realNowMs() - 10_000);
	});

	test("lists what is due, oldest first, over REST and on the bus, and changes nothing", async () => {
		const { due, refused, newestStored, lowWatermark } = await plan();
		expect(refused).toBeNull();
		expect(due.map(({ kind, month, shard }) => [kind, month, shard])).toEqual(
			DUE.flatMap((month) => [0, 1, 2, 3].map((shard) => ["archive", month, shard])),
		);
		expect(Date.parse(newestStored ?? "")).toBeGreaterThan(realNowMs() - 60_000);
		expect(lowWatermark).not.toBeNull();
		const onBus = await ops.call<ArchivePlan, object>("archive.mover.plan", {}, { meta: { auth: system.keys.opsKey } });
		expect(onBus.due).toEqual(due);
		expect((await operator("GET", "/v1/ops/archive/runs")).body).toEqual({ runs: [] });
	});

	test("is shown to operators only", async () => {
		const producer = restClient(urlOf(ops), system.keys.producerKey);
		for (const path of ["", "/plan", "/runs", "/runs/x"]) {
			expect((await producer("GET", `/v1/ops/archive${path}`)).status).toBe(403);
		}
		for (const path of ["/run", "/stop"]) {
			expect((await producer("POST", `/v1/ops/archive${path}`, {})).status).toBe(403);
			expect((await restClient(urlOf(ops))("POST", `/v1/ops/archive${path}`, {})).status).toBe(401);
		}
	});

	test("of a process whose clock is 40 days ahead is refused, also when somebody vouches for the clock", async () => {
		const skewed = await startProcess(system.servers, "skewed", "gateway,archive.mover", {
			...SETTINGS,
			...skewedBy(40 * 86_400_000, system.servers.dir),
		});
		try {
			const there = restClient(skewed.url, system.keys.opsKey);
			const { body } = await there("POST", "/v1/ops/archive/run", { trustClock: true });
			expect([body.begun, body.plan.due, body.plan.refused.code]).toEqual([[], [], "CLOCK_DOUBTFUL"]);
			expect(body.plan.refused.message).toContain("ahead of that of");
		} finally {
			await skewed.end("SIGTERM");
		}
	});

	test("of a month that is not due says why", async () => {
		const month = realMonth();
		const { begun, plan: found } = await ask({ month });
		expect([begun, codes(found)]).toEqual([[], [`${month} NOT_DUE`]]);
	});

	test("of a month that no shard has says so", async () => {
		expect(codes((await ask({ month: "2019_01" })).plan)).toEqual(["2019_01 NOT_HELD"]);
	});

	test.each([{ month: "2026-08" }, { month: "2026_13" }, { shard: -1 }, { shard: 99 }, { rate: 0 }, { colour: "red" }])(
		"is not made for a request like %j",
		async (body) => {
			expect(await operator("POST", "/v1/ops/archive/run", body)).toMatchObject({
				status: 422,
				body: { code: "VALIDATION_FAILED" },
			});
		},
	);
});

/** The run once it is in that state. */
function untilIs(id: string, state: Run["state"]): Promise<Run> {
	return eventually(async () => [await runOf(id)].find((run) => run.state === state), `${id} ${state}`);
}

describe("a run", () => {
	test("goes from planned over running, with its progress on record, to done", async () => {
		const heard: object[] = [];
		ops.createService({
			name: "listener",
			events: { "archive.month.archived": (ctx: { params: object }) => void heard.push(ctx.params) },
		});
		const reply = await operator("POST", "/v1/ops/archive/run", { month: OLD, shard: 0, rate: 500 });
		expect(reply.status).toBe(202);
		expect(reply.body.begun).toMatchObject([{ id: idOf(0), state: "planned", rate: 500, askedBy: expect.any(String) }]);
		const running = await untilIs(idOf(0), "running");
		expect(running).toMatchObject({ node: ops.nodeID, step: expect.any(String), startedAt: expect.any(String) });
		expect((await status()).open).toMatchObject([{ id: idOf(0), state: "running" }]);
		const done = await untilIs(idOf(0), "done");
		expect(done).toMatchObject({
			step: "settled",
			rows: { done: ROWS, total: ROWS, verified: ROWS },
			endedAt: expect.any(String),
		});
		await eventually(() => heard.length > 0, "the event");
		expect(heard).toEqual([{ shard: 0, month: OLD, rows: ROWS }]);
		const map = await newestMap(clusters);
		expect(map.shards[0]?.collections[alarmsOf(OLD)]).toMatchObject({ tier: "archive", cluster: "a0" });
	});

	test("is counted in the metrics, and the months by tier", async () => {
		const series = await scrape(urlOf(ops));
		expect(only(series, "alarm_archive_")).toMatchObject({
			alarm_archive_rows_total: ROWS,
			'alarm_archive_runs{state="done"}': 1,
			'alarm_archive_runs{state="waiting"}': 0,
			alarm_archive_waiting_seconds: 0,
			'alarm_archive_months{tier="archive"}': 1,
		});
	});

	test("stands in the status, with rows and bytes of each month", async () => {
		const { months, open, ended, unavailable, nextLook } = await status();
		expect([open, unavailable, nextLook]).toEqual([[], [], null]);
		expect(ended).toMatchObject([{ id: idOf(0), state: "done" }]);
		const old = months.find(({ month }) => month === OLD);
		expect(old).toMatchObject({ shards: { archive: 1, service: SHARDS - 1 }, rows: SHARDS * ROWS });
		expect(old?.bytes).toBeGreaterThan(0);
	});

	test("that nobody knows is not found", async () => {
		expect(await operator("GET", "/v1/ops/archive/runs/no-such-run")).toMatchObject({
			status: 404,
			body: { code: "RUN_NOT_FOUND" },
		});
	});
});

describe("a run that is stopped", () => {
	test("ends between two chunks, stays on record as stopped, and goes on when it is asked for", async () => {
		await ask({ month: OLD, shard: 1, rate: 20 });
		await untilIs(idOf(1), "running");
		const { body } = await operator("POST", "/v1/ops/archive/stop", {});
		expect(body.runs).toMatchObject([{ id: idOf(1), state: "stopped", reason: { code: "STOPPED" } }]);
		// The shard is free again: its duty was given back.
		await eventually(async () => (await newestMap(clusters)).shards[1]?.lock === undefined, "the duty given back");
		expect(await runOf(idOf(1))).toMatchObject({ state: "stopped" });
		expect((await ask({ month: OLD, shard: 1 })).begun).toMatchObject([{ id: idOf(1), state: "planned" }]);
		await untilIs(idOf(1), "done");
	});
});

test("a run that was stopped elsewhere, and the news of it lost, is left before its step is over", async () => {
	const month = DUE[1] ?? "";
	const id = idOf(3, month);
	await fillMonth(clusters, await newestMap(clusters), 3, month, { customers: 400, each: 50 });
	// Copied already: what is left is to compare it, which at this rate takes longer than anybody here waits.
	for await (const step of archiveMonth(moveDeps(clusters, "by-hand"), { run: id, shard: 3, month })) {
		if (step === "caught up") break;
	}
	await ask({ month, shard: 3, rate: 400 });
	await eventually(async () => (await runOf(id)).step === "caught up", "the comparison");
	const runs = shards.cluster("c0").db("alarm_meta").collection<{ _id: string }>("runs");
	await runs.updateOne({ _id: id }, { $set: { state: "stopped" } });
	await eventually(async () => (await newestMap(clusters)).shards[3]?.lock === undefined, "the duty given back");
	expect((await newestMap(clusters)).shards[3]?.collections[alarmsOf(month)]).toMatchObject({ tier: "service" });
	expect(await runOf(id)).toMatchObject({ state: "stopped" });
});

test("a plan does without a service cluster that stands still, and answers in time", async () => {
	await freeze(system.servers.mongods.c1?.pid ?? 0);
	try {
		const { status: code, body } = await operator("GET", "/v1/ops/archive/plan");
		expect([code, body.refused]).toEqual([200, null]);
	} finally {
		thaw(system.servers.mongods.c1?.pid ?? 0);
	}
});

test("the bus sees the actions of the contract, none of moleculer-db's, and no address of a database", () => {
	const info = JSON.stringify(ops.registry.getLocalNodeInfo(true));
	const actions = [...info.matchAll(/"name":"archive\.mover\.(\w+)"/g)].map(([, name]) => name);
	const promised = [
		...["cancelMove", "erase", "find", "history", "moveShard", "pauseMove", "plan", "rebalance", "rebalancePlan"],
		...["resumeMove", "run", "runs", "shards", "status", "stop"],
	];
	expect([...new Set(actions)].sort()).toEqual(promised);
	expect(info).not.toContain("mongodb://");
});

describe("while the archive does not answer", () => {
	test("a run waits and says why, and goes on by itself when it is back", async () => {
		await freeze(system.servers.mongods.a0?.pid ?? 0);
		try {
			await ask({ month: OLD, shard: 2 });
			const waiting = await untilIs(idOf(2), "waiting");
			expect(waiting).toMatchObject({ reason: { code: "CLUSTER_AWAY" }, waitingSince: expect.any(String) });
			expect(waiting.reason?.message).toContain("a0");
			expect((await status()).unavailable).toEqual(["a0"]);
		} finally {
			thaw(system.servers.mongods.a0?.pid ?? 0);
		}
		expect(await untilIs(idOf(2), "done")).not.toHaveProperty("waitingSince");
	});
});
