import type { ServiceBroker } from "moleculer";
import type { Run } from "../../contracts/archive.ts";
import type { ShardsState } from "../../contracts/shards.ts";
import { movedName, shardDatabase } from "../../domain/holdings.ts";
import { newAlarmId } from "../../domain/ids.ts";
import { addMonths, monthOf, monthStartMs } from "../../domain/periods.ts";
import { toRow } from "../../domain/rows.ts";
import type { HasRuns } from "../../mixins/runs.mixin.ts";
import { Clusters } from "../../stores/clusters.ts";
import { publishLowWatermark } from "../../stores/low-watermark.ts";
import { newestMap } from "../../stores/map-change.ts";
import { Mover } from "../../stores/mover.ts";
import { eventually } from "../support/eventually.ts";
import { customersOf, fillMonth, mapSince, putRows } from "../support/months.ts";
import { type ServiceProcess, startProcess } from "../support/processes.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Moves of shards as operators meet them: asked for over REST, on record, paused, resumed, canceled, and several at once. */

const SHARDS = 16;
const MONTH = addMonths(monthOf(Date.now()), -1);
/** Three chunks of a copy. */
const MANY = { customers: 60, each: 90 };
const ROWS = MANY.customers * MANY.each;
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
	await publishLowWatermark(clusters, Date.now());
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
	const row = toRow(newAlarmId(userId, Date.now()), { producer: "demo", acceptedAtMs: Date.now(), alarm });
	await putRows(clusters, await newestMap(clusters), 1, monthOf(Date.now()), [row]);
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

test("a move is put on record, shows its progress, and ends with the shard on the other cluster", async () => {
	await filled();
	const { status, body } = await post("move", { to: "c1", rate: 4_000 });
	expect([status, body]).toMatchObject([
		202,
		{ id: idOf("c1"), kind: "move", to: "c1", state: "planned", month: null },
	]);
	const moving = await eventually(async () => {
		const { move, duty } = (await stateOf()) ?? {};
		return move?.leftMs ? { move, duty } : null;
	}, "the time left");
	expect(moving).toMatchObject({ move: { state: "running", rate: 4_000 }, duty: { kind: "move", run: idOf("c1") } });
	expect(moving.move.rows.total).toBeGreaterThanOrEqual(ROWS);
	expect(moving.move.perSecond).toBeGreaterThan(0);
	const done = await untilIs(idOf("c1"), "done");
	expect(done).toMatchObject({ step: "settled", compared: done.rows.total, rows: { done: done.rows.total } });
	const after = await stateOf();
	expect(after).toMatchObject({ cluster: "c1", move: null, duty: null, left: [{ cluster: "c0", settled: true }] });
	expect(after?.rows).toBe(done.rows.total);
	expect(after?.bytes).toBeGreaterThan(ROWS * 100);
});

test("whoever asks for what cannot be is told why", async () => {
	await filled({ customers: 1, each: 1 });
	const refusals = [
		[post("move", { to: "c9" }), 409, "the service clusters are c0, c1"],
		[post("move", { to: "c0" }), 409, "is on c0 already"],
		[post("move", { to: "c1" }, 99), 404, "There are shards 0 to 15"],
		[post("pause"), 404, "no move that is under way"],
		[post("resume"), 404, "no move that is under way"],
		[post("cancel"), 404, "no move that could be canceled"],
	] as const;
	for (const [asked, status, why] of refusals) {
		const reply = await asked;
		expect([reply.status, reply.body.detail]).toEqual([status, expect.stringContaining(why)]);
	}
	expect((await post("move", { to: "c1", colour: "red" })).body.code).toBe("VALIDATION_FAILED");
	expect((await post("move", {})).body.code).toBe("VALIDATION_FAILED");
	const producer = restClient(urlOf(ops), system.keys.producerKey);
	expect((await producer("GET", "/v1/ops/shards")).status).toBe(403);
	for (const deed of ["move", "pause", "resume", "cancel"])
		expect((await producer("POST", `/v1/ops/shards/${shard}/${deed}`, {})).status).toBe(403);
});

test("a move that is paused gives the shard free and keeps its copies; resumed, it goes on behind the last row", async () => {
	await filled();
	await post("move", { to: "c1", rate: 1_000 });
	await until(idOf("c1"), ({ rows }) => rows.done > 0, "some rows copied");
	const paused = await post("pause");
	expect(paused.body).toMatchObject({ state: "stopped", reason: { code: "PAUSED" } });
	await eventually(async () => (await placeOf())?.duty === undefined, "the duty given back");
	const names = (await copiesOf()).length;
	expect(names).toBeGreaterThan(0);
	const copied = (await runOf(idOf("c1"))).rows.done;
	expect(copied).toBeGreaterThan(0);
	// Neither is another move begun, nor does the archive's stop touch it.
	expect((await operator("POST", "/v1/ops/archive/stop", {})).body.runs).toEqual([]);
	expect((await post("resume", { rate: 100_000 })).body).toMatchObject({ state: "planned", rate: 100_000 });
	const first = await until(idOf("c1"), ({ state, rows }) => state === "running" || rows.done > copied, "running");
	expect(first.rows.done).toBeGreaterThanOrEqual(copied);
	expect(await untilIs(idOf("c1"), "done")).toMatchObject({ rate: 100_000 });
	expect(await placeOf()).toMatchObject({ cluster: "c1" });
});

test("a move under way takes another rate at once", async () => {
	await filled();
	await post("move", { to: "c1", rate: 100 });
	await untilIs(idOf("c1"), "running");
	expect((await post("resume", { rate: 1_000_000 })).body).toMatchObject({ state: "running", rate: 1_000_000 });
	await untilIs(idOf("c1"), "done");
});

test("a move that is canceled leaves nothing at the target, and the shard may move anew; one that is over cannot be", async () => {
	await filled();
	const before = await placeOf();
	await post("move", { to: "c1", rate: 1_000 });
	await until(idOf("c1"), ({ rows }) => rows.done > 0, "some rows copied");
	expect(await post("cancel")).toMatchObject({ status: 202, body: { canceling: true } });
	const canceled = await untilIs(idOf("c1"), "canceled");
	expect(canceled).not.toHaveProperty("canceling");
	expect(canceled.endedAt).not.toBeNull();
	expect(await copiesOf()).toEqual([]);
	expect(await shards.cluster("c0").db(shardDatabase(shard)).collection("moves").countDocuments()).toBe(0);
	await eventually(async () => (await placeOf())?.duty === undefined, "the duty given back");
	expect(await placeOf()).toEqual({ ...before, epoch: expect.any(Number) });
	expect((await post("cancel")).body.code).toBe("MOVE_NOT_FOUND");
	await post("move", { to: "c1" });
	await untilIs(idOf("c1"), "done");
	const late = await post("cancel");
	expect([late.status, late.body.code, late.body.detail]).toEqual([
		409,
		"MOVE_REFUSED",
		expect.stringContaining("a move in the other direction"),
	]);
	await post("move", { to: "c0" });
	await untilIs(idOf("c0"), "done");
	expect(await placeOf()).toMatchObject({ cluster: "c0" });
});

test("while a shard is half moved, it is moved nowhere else, and two of three move at once", async () => {
	const all = [await filled(), await filled(), await filled()] as const;
	for (const one of all) expect((await post("move", { to: "c1", rate: 300 }, one)).status).toBe(202);
	const running = async () => (await state()).shards.filter(({ move }) => move?.state === "running");
	await eventually(async () => (await running()).length === 2, "two under way");
	expect((await state()).shards.filter(({ move }) => move?.state === "planned")).toHaveLength(1);
	// Back to where it is counts as elsewhere, too.
	for (const one of all) expect((await post("move", { to: "c0" }, one)).body.detail).toContain("cancel it first");
	for (const one of all) await post("resume", { rate: 1_000_000 }, one);
	for (const one of all) await untilIs(idOf("c1", one), "done");
	const times = await Promise.all(all.map(async (one) => runOf(idOf("c1", one))));
	const most = times.map(
		({ startedAt }) =>
			times.filter((run) => (run.startedAt ?? "") <= (startedAt ?? "") && (run.endedAt ?? "") > (startedAt ?? ""))
				.length,
	);
	expect(Math.max(...most)).toBe(2);
});

test("a mover that is killed in the middle of a move is followed by another, and what was left is dropped after its time", async () => {
	await filled();
	const busy = await startProcess(system.servers, "mover-killed", "gateway,archive.mover", {
		...SETTINGS,
		LOG_LEVEL: "info",
	});
	others.push(busy);
	await post("move", { to: "c1", rate: 400 });
	const running = await untilIs(idOf("c1"), "running");
	expect(["mover-killed", ops.nodeID]).toContain(running.node);
	await busy.end("SIGKILL");
	await post("resume", { rate: 1_000_000 });
	await untilIs(idOf("c1"), "done");
	expect(await placeOf()).toMatchObject({ cluster: "c1", left: [{ cluster: "c0", settled: true }] });
	await dropNow();
	expect((await placeOf())?.left).toBeUndefined();
	expect(await shards.cluster("c0").db(shardDatabase(shard)).listCollections().toArray()).toEqual([]);
});

/** As a mover does it whose time of grace is none. */
async function dropNow(): Promise<void> {
	const { runs } = ops.getLocalService("archive.mover") as unknown as HasRuns;
	const nothing = () => undefined;
	const mover = new Mover({
		clusters,
		runs,
		node: "by-the-clock",
		nowMs: Date.now,
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
		await eventually(async () => (await placeOf())?.left === undefined, "what was left dropped");
	} finally {
		await mover.stop();
	}
}
