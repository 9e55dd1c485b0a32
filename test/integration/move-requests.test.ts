import type { ServiceBroker } from "moleculer";
import type { Run } from "../../contracts/archive.ts";
import type { MapHistory, RebalancePlan, ShardsState } from "../../contracts/shards.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { toRow } from "../../domain/alarms/rows.ts";
import { movedName, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { monthStartMs } from "../../domain/time/periods.ts";
import { Mover } from "../../jobs/scheduler.ts";
import type { HasRuns } from "../../mixins/runs.mixin.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { publishLowWatermark } from "../../stores/routing/low-watermark.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { eventually } from "../support/eventually.ts";
import { customersOf, fillMonth, mapSince, putRows } from "../support/months.ts";
import { realMonth, realNowMs } from "../support/now.ts";
import { type ServiceProcess, startProcess } from "../support/processes.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Moves of shards as operators meet them: asked for over REST, on record, paused, resumed, canceled, and several at once. */

const SHARDS = 16;
const MONTH = realMonth(-1);
/** More than two chunks of a copy. */
const MANY = { customers: 60, each: 80 };
const ROWS = MANY.customers * MANY.each;
const FEW = { customers: 1, each: 1 };
const SETTINGS = { LOGICAL_SHARDS: String(SHARDS), ARCHIVE_EVERY_MINUTES: "0" };

let system: TestSystem;
let clusters: Clusters;
let shards: TestShards;
let ops: ServiceBroker;
let operator: Rest;
/** Each test has shards of its own; those with an even number begin on c0. */
let shard = -2;
let others: ServiceProcess[] = [];

beforeAll(async () => {
	system = await startSystem(SETTINGS, { names: ["c0", "c1", "a0"], since: new Date(monthStartMs(MONTH)) });
	clusters = new Clusters(system.config);
	shards = new TestShards(system.servers);
	await mapSince(clusters, MONTH, SHARDS);
	await storeNow();
	await publishLowWatermark(clusters, realNowMs());
	ops = await system.run("gateway,shard.router,archive.mover");
	operator = restClient(urlOf(ops), system.keys.opsKey);
	await eventually(async () => (await operator("GET", "/v1/ops/archive/runs")).status === 200, "the record of runs");
});
afterEach(async () => {
	for (const one of others) await one.end("SIGKILL");
	others = [];
});
afterAll(async () => {
	await shards?.close();
	await clusters?.close();
	await system?.stop();
});

/** The movers' clock is checked by it. */
async function storeNow(): Promise<void> {
	const [userId = ""] = customersOf(1, 1, SHARDS);
	const alarm = { userId, category: "card", title: "t", body: "b" };
	const row = toRow(newAlarmId(userId, realNowMs()), { producer: "demo", acceptedAtMs: realNowMs(), alarm });
	await putRows(clusters, await newestMap(clusters), 1, realMonth(), [row]);
}

async function filled(many = MANY): Promise<number> {
	shard += 2;
	await fillMonth(clusters, await newestMap(clusters), shard, MONTH, many);
	return shard;
}

const post = (deed: string, body: object = {}, of = shard) => operator("POST", `/v1/ops/shards/${of}/${deed}`, body);
const state = async (): Promise<ShardsState> => (await operator("GET", "/v1/ops/shards")).body;
const stateOf = async (of = shard) => (await state()).shards[of];
const idOf = (to: string, of = shard) => `move-s${String(of).padStart(2, "0")}-${to}`;
const runOf = async (id: string): Promise<Run> => (await operator("GET", `/v1/ops/archive/runs/${id}`)).body;
const until = (id: string, isIt: (run: Run) => boolean, what: string) =>
	eventually(async () => [await runOf(id)].find(isIt), `${id} ${what}`);
const untilIs = (id: string, of: Run["state"]) => until(id, (run) => run.state === of, of);
const placeOf = async (of = shard) => (await newestMap(clusters)).shards[of];
const copiesOf = async (of = shard) =>
	(await shards.cluster("c1").db(shardDatabase(of)).listCollections({}, { nameOnly: true }).toArray()).filter(
		({ name }) => movedName(name)?.kind === "incoming",
	);

/** The next chunk would take minutes. */
const SLOW = 2;
/** A move that has copied something, and goes on so slowly that it stays there. */
async function halfway(): Promise<void> {
	await post("move", { to: "c1", rate: 1_000 });
	await until(idOf("c1"), ({ rows }) => rows.done > 0, "some rows copied");
	await post("resume", { rate: SLOW });
	expect(await runOf(idOf("c1"))).toMatchObject({ state: "running", step: "taken" });
}

test("a move is put on record, shows its progress, and ends with the shard on the other cluster; then it can be canceled no more", async () => {
	await filled();
	const { status, body } = await post("move", { to: "c1", rate: 2_000 });
	expect([status, body]).toMatchObject([
		202,
		{ id: idOf("c1"), kind: "move", to: "c1", state: "planned", month: null },
	]);
	const moving = await eventually(async () => {
		const { move, lock } = (await stateOf()) ?? {};
		return move?.leftMs ? { move, lock } : null;
	}, "the time left");
	expect(moving).toMatchObject({ move: { state: "running", rate: 2_000 }, lock: { kind: "move", run: idOf("c1") } });
	expect(moving.move.rows.total).toBeGreaterThanOrEqual(ROWS);
	expect(moving.move.perSecond).toBeGreaterThan(0);
	const done = await untilIs(idOf("c1"), "done");
	expect(done).toMatchObject({ step: "settled", compared: done.rows.total, rows: { done: done.rows.total } });
	const after = await stateOf();
	expect(after).toMatchObject({ cluster: "c1", move: null, lock: null, retained: [{ cluster: "c0", settled: true }] });
	expect(after?.rows).toBe(done.rows.total);
	expect(after?.bytes).toBeGreaterThan(ROWS * 100);
	const late = await post("cancel");
	expect([late.status, late.body.code]).toEqual([409, "MOVE_REJECTED"]);
	expect(late.body.detail).toContain("a move in the other direction");
});

test("whoever asks for what cannot be is told why", async () => {
	await filled(FEW);
	const refusals = [
		[await post("move", { to: "c9" }), 409, "the service clusters are c0, c1"],
		[await post("move", { to: "c0" }), 409, "is on c0 already"],
		[await post("move", { to: "c1" }, 99), 404, "There are shards 0 to 15"],
		[await post("pause"), 404, "no move that is under way"],
		[await post("resume"), 404, "no move that is under way"],
		[await post("cancel"), 404, "no move that could be canceled"],
		[await operator("POST", "/v1/ops/shards/rebalance", { confirm: "00000000" }), 409, "No plan 00000000 was shown"],
	] as const;
	for (const [{ status, body }, expected, why] of refusals)
		expect([status, body.detail]).toEqual([expected, expect.stringContaining(why)]);
	for (const body of [{ to: "c1", colour: "red" }, {}, { to: "c1", rate: 0 }])
		expect((await post("move", body)).body.code).toBe("VALIDATION_FAILED");
	const producer = restClient(urlOf(ops), system.keys.producerKey);
	for (const path of ["", "/plan", "/history"])
		expect((await producer("GET", `/v1/ops/shards${path}`)).status).toBe(403);
	for (const deed of ["move", "pause", "resume", "cancel"])
		expect((await producer("POST", `/v1/ops/shards/${shard}/${deed}`, {})).status).toBe(403);
});

test("a move that is paused gives the shard free and keeps its copies; resumed, it goes on behind the last row, at once at another rate", async () => {
	await filled();
	await halfway();
	expect((await post("pause")).body).toMatchObject({ state: "stopped", reason: { code: "PAUSED" } });
	expect((await post("pause")).body).toMatchObject({ state: "stopped" });
	await eventually(async () => (await placeOf())?.lock === undefined, "the duty given back");
	const copied = (await runOf(idOf("c1"))).rows.done;
	expect((await copiesOf()).length).toBeGreaterThan(0);
	// The archive is stopped apart.
	expect((await operator("POST", "/v1/ops/archive/stop", {})).body.runs).toEqual([]);
	expect((await post("resume")).body).toMatchObject({ state: "planned", rate: SLOW });
	await untilIs(idOf("c1"), "running");
	expect((await post("resume", { rate: 1_000_000 })).body).toMatchObject({ state: "running", rate: 1_000_000 });
	const seen: Run[] = [];
	await until(idOf("c1"), (run) => seen.push(run) > 0 && run.state === "done", "done");
	expect(Math.min(...seen.map(({ rows }) => rows.done))).toBeGreaterThanOrEqual(copied);
	expect(await placeOf()).toMatchObject({ cluster: "c1" });
});

test("a move that is canceled leaves nothing at the target, and the shard may move anew", async () => {
	await filled();
	const before = await placeOf();
	await halfway();
	// Back to where it is counts as elsewhere, too.
	expect((await post("move", { to: "c0" })).body.detail).toContain("cancel it first");
	expect(await post("cancel")).toMatchObject({ status: 202, body: { canceling: true } });
	const canceled = await untilIs(idOf("c1"), "canceled");
	expect(canceled).not.toHaveProperty("canceling");
	expect(canceled.endedAt).not.toBeNull();
	expect(await copiesOf()).toEqual([]);
	expect(await shards.cluster("c0").db(shardDatabase(shard)).collection("moves").countDocuments()).toBe(0);
	await eventually(async () => (await placeOf())?.lock === undefined, "the duty given back");
	expect(await placeOf()).toEqual({ ...before, epoch: expect.any(Number) });
	expect((await post("cancel")).body.code).toBe("MOVE_NOT_FOUND");
	await post("move", { to: "c1" });
	await untilIs(idOf("c1"), "done");
});

test("of three shards two move at once, also when a second mover comes, the third when it is its turn; and what was left is dropped", async () => {
	// At one row per second two minutes long.
	const slow = { customers: 1, each: 120 };
	const all = [await filled(slow), await filled(slow), await filled(slow)] as const;
	for (const one of all) expect((await post("move", { to: "c1", rate: 1 }, one)).status).toBe(202);
	const of = async (which: Run["state"]) => (await state()).shards.filter(({ move }) => move?.state === which);
	const under = await eventually(async () => [await of("running")].find(({ length }) => length === 2), "two under way");
	// Known before the first chunk.
	for (const { move } of under) expect(move?.rows.total).toBeGreaterThanOrEqual(120);
	const other = await startProcess(system.servers, "mover-2", "gateway,archive.mover", SETTINGS);
	others.push(other);
	const there = restClient(other.url, system.keys.opsKey);
	await eventually(async () => (await there("GET", "/v1/ops/archive/runs")).status === 200, "another mover");
	expect([(await of("running")).length, (await of("planned")).length]).toEqual([2, 1]);
	await other.end("SIGKILL");
	for (const one of all) await post("resume", { rate: 1_000_000 }, one);
	for (const one of all) await untilIs(idOf("c1", one), "done");
	await dropNow();
	expect((await placeOf())?.retained).toBeUndefined();
	expect(await shards.cluster("c0").db(shardDatabase(shard)).listCollections().toArray()).toEqual([]);
});

test("the plan evens what was moved away, is run by its id, and leaves nothing to do; the history tells of it all", async () => {
	const planNow = async (): Promise<RebalancePlan> => (await operator("GET", "/v1/ops/shards/plan")).body;
	const plan = await planNow();
	expect(plan.moves.length).toBeGreaterThan(0);
	expect(plan.moves.every(({ from, to }) => from === "c1" && to === "c0")).toBe(true);
	// A colleague begins one of the moves: another plan would be made now, but what is confirmed is what was seen.
	const [one = { shard: -1, to: "" }] = plan.moves;
	expect((await post("move", { to: one.to }, one.shard)).status).toBe(202);
	expect((await planNow()).id).not.toBe(plan.id);
	const confirm = () => operator("POST", "/v1/ops/shards/rebalance", { confirm: plan.id });
	const { status, body } = await confirm();
	expect([status, body.skipped]).toEqual([202, []]);
	const again = (await confirm()).body;
	expect([...again.begun, ...again.skipped].map(({ shard }) => shard)).toEqual(plan.moves.map(({ shard }) => shard));
	expect(body.begun.map(({ shard, to }: Run) => [shard, to])).toEqual(plan.moves.map(({ shard, to }) => [shard, to]));
	expect(await planNow()).toMatchObject({ id: null, underWay: body.begun.map(({ id }: Run) => id).sort() });
	for (const { id } of body.begun) await untilIs(id, "done");
	expect(await planNow()).toMatchObject({ id: null, underWay: [] });
	const [{ shard: first = 0 } = {}] = plan.moves;
	const { changes } = (await operator("GET", `/v1/ops/shards/history?shard=${first}&limit=4`)).body as MapHistory;
	expect(changes.map(({ kind, run, by }) => [kind, run, by])).toEqual(
		["duty", "settled", "moved", "duty"].map((kind) => [kind, idOf("c0", first), ops.nodeID]),
	);
	expect(changes[2]).toMatchObject({ what: `shard ${first} moved from c1 to c0`, shards: [first] });
	const all = (await operator("GET", "/v1/ops/shards/history?limit=1000")).body as MapHistory;
	expect(all.changes.at(-1)).toMatchObject({ version: 1, kind: "set up" });
	expect(all.changes.map(({ version }) => version)).toEqual(all.changes.map((_, at) => all.changes.length - at));
});

/** As a mover does it whose time of grace is none. */
async function dropNow(): Promise<void> {
	const { runs } = ops.getLocalService("archive.mover") as unknown as HasRuns;
	const nothing = () => undefined;
	const mover = new Mover({
		clusters,
		runs,
		node: "by-the-clock",
		nowMs: realNowMs,
		isRealClock: true,
		limits: { serviceDays: 3_000, archiveDays: 3_001, mostDrops: 2 },
		everyMs: 500,
		graceMs: 0,
		firstLookMs: 0,
		rowsPerSecond: 100_000,
		moveRowsPerSecond: 100_000,
		movesAtOnce: 1,
		onMap: nothing,
		onRows: nothing,
		onRuns: nothing,
		onDone: nothing,
		onError: nothing,
		logger: { info: nothing, warn: nothing, error: nothing },
	});
	mover.start();
	try {
		await eventually(async () => (await placeOf())?.retained === undefined, "what was left dropped");
	} finally {
		await mover.stop();
	}
}
