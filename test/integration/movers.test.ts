import type { ServiceBroker } from "moleculer";
import type { Run, RunAnswer } from "../../contracts/archive.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { toRow } from "../../domain/alarms/rows.ts";
import { newRun } from "../../domain/jobs/runs.ts";
import { alarmsOf, archiveDatabase, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { addMonths, monthEndMs, monthStartMs } from "../../domain/time/periods.ts";
import { takeShardLock } from "../../jobs/lock/shard-lock.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { HANDLERS, type Tools } from "../../jobs/run-handlers.ts";
import { Mover, type MoverDeps } from "../../jobs/scheduler.ts";
import type { HasRuns } from "../../mixins/runs.mixin.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { publishLowWatermark } from "../../stores/routing/low-watermark.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { eventually } from "../support/eventually.ts";
import { customersOf, fillMonth, putRows } from "../support/months.ts";
import { moveDeps } from "../support/movers.ts";
import { realMonth, realNowMs } from "../support/now.ts";
import { type ServiceProcess, startProcess } from "../support/processes.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

/** Movers that are killed, told to stop, several at once, by the clock; and what they drop. */

const SHARDS = 4;
const EVERY_SHARD = [0, 1, 2, 3];
const MONTHS = [-6, -5, -4].map((ahead) => realMonth(ahead));
const [FIRST = "", SECOND = "", THIRD = ""] = MONTHS;
const ROWS = 500;
/** Since the last of them was over: the month after is not due on any day. */
const DAYS = Math.floor((realNowMs() - monthEndMs(THIRD)) / 86_400_000) - 2;
const SETTINGS = {
	LOGICAL_SHARDS: String(SHARDS),
	SERVICE_DAYS: String(DAYS),
	ARCHIVE_DAYS: String(DAYS + 1),
	ARCHIVE_EVERY_MINUTES: "0",
	ARCHIVE_GRACE_HOURS: "1",
};

let system: TestSystem;
let clusters: Clusters;
let shards: TestShards;
const processes: ServiceProcess[] = [];

beforeAll(async () => {
	system = await startSystem(SETTINGS, { since: new Date(monthStartMs(FIRST)) });
	shards = new TestShards(system.servers);
	clusters = new Clusters(system.config);
	const map = await newestMap(clusters);
	for (const month of MONTHS) for (const shard of EVERY_SHARD) await fillMonth(clusters, map, shard, month);
	await storeNow();
	await publishLowWatermark(clusters, realNowMs());
});
afterAll(async () => {
	for (const one of processes) await one.end("SIGKILL");
	await shards?.close();
	await clusters?.close();
	await system?.stop();
});

/** The clock is checked by it. */
async function storeNow(): Promise<void> {
	const [userId = ""] = customersOf(1, 1, SHARDS);
	const alarm = { userId, category: "card", title: "t", body: "b" };
	const row = toRow(newAlarmId(userId, realNowMs()), { producer: "demo", acceptedAtMs: realNowMs(), alarm });
	await putRows(clusters, await newestMap(clusters), 1, realMonth(), [row]);
}

/** A process with a mover and a gateway, which can ask it. */
async function moverProcess(nodeId: string): Promise<{ process: ServiceProcess; operator: Rest }> {
	const process = await startProcess(system.servers, nodeId, "gateway,archive.mover", {
		...SETTINGS,
		LOG_LEVEL: "info",
	});
	processes.push(process);
	const operator = restClient(process.url, system.keys.opsKey);
	await eventually(async () => (await operator("GET", "/v1/ops/archive/runs")).status === 200, "the record of runs");
	return { process, operator };
}

const ask = async (operator: Rest, body: object): Promise<RunAnswer> =>
	(await operator("POST", "/v1/ops/archive/run", body)).body;
const records = () => shards.cluster("c0").db("alarm_meta").collection<Omit<Run, "id"> & { _id: string }>("runs");
const untilIs = (id: string, state: Run["state"]) =>
	eventually(async () => {
		const run = await records().findOne({ _id: id });
		return run?.state === state ? run : null;
	}, `${id} ${state}`);
const archiveId = (shard: number, month: string) => `archive-s0${shard}-${month}`;
const placeOf = async (shard: number, month: string) =>
	(await newestMap(clusters)).shards[shard]?.collections[alarmsOf(month)];
const archivedRows = (shard: number, month: string) =>
	shards.cluster("c0").db(archiveDatabase(shard)).collection(alarmsOf(month)).countDocuments();

describe("a run whose process", () => {
	let first: Awaited<ReturnType<typeof moverProcess>>;
	let second: Awaited<ReturnType<typeof moverProcess>>;

	beforeAll(async () => {
		first = await moverProcess("mover-1");
	});

	test("is told to stop is left within moments, and the process ends well", async () => {
		await ask(first.operator, { month: FIRST, shard: 0, rate: 10 });
		await untilIs(archiveId(0, FIRST), "running");
		expect(await first.process.end("SIGTERM")).toBe("exit code 0");
		expect(await records().findOne({ _id: archiveId(0, FIRST) })).toMatchObject({
			state: "waiting",
			reason: { code: "PROCESS_STOPPED" },
			node: "mover-1",
		});
		expect((await newestMap(clusters)).shards[0]).not.toHaveProperty("duty");
	});

	test("has ended is gone on with by the next, at another rate if that is asked for", async () => {
		first = await moverProcess("mover-2");
		await untilIs(archiveId(0, FIRST), "running");
		await ask(first.operator, { month: FIRST, shard: 0, rate: 5 });
		expect((await records().findOne({ _id: archiveId(0, FIRST) }))?.rate).toBe(5);
	});

	test("is killed is taken up by another that was there all the time", async () => {
		second = await moverProcess("mover-3");
		await first.process.end("SIGKILL");
		await shards.endLease(0);
		const id = archiveId(0, FIRST);
		await eventually(async () => (await records().findOne({ _id: id }))?.node === "mover-3", "the run at mover-3");
		await ask(second.operator, { month: FIRST, shard: 0, rate: 1_000_000 });
		expect(await untilIs(id, "done")).toMatchObject({ node: "mover-3", reason: null, step: "settled" });
		expect(await placeOf(0, FIRST)).toMatchObject({ tier: "archive", retained: { settled: true } });
		expect(await archivedRows(0, FIRST)).toBe(ROWS);
	});

	test("is heard of also while it compares, so that no other mover takes it for dead", async () => {
		const id = archiveId(1, FIRST);
		// Copied already: what is left is to compare it, at this rate for longer than until the next sign of life.
		for await (const step of archiveMonth(moveDeps(clusters, "by-hand"), { run: id, shard: 1, month: FIRST })) {
			if (step === "caught up") break;
		}
		await ask(second.operator, { month: FIRST, shard: 1, rate: 10 });
		const first = await eventually(async () => {
			const run = await records().findOne({ _id: id });
			return run?.step === "caught up" ? run : null;
		}, "the comparison");
		const next = await eventually(async () => {
			const run = await records().findOne({ _id: id });
			return run?.updatedAt !== first.updatedAt ? run : null;
		}, "another sign of life");
		expect(next.step).toBe("caught up");
		await ask(second.operator, { month: FIRST, shard: 1, rate: 1_000_000 });
		await untilIs(id, "done");
	});

	test("works beside another: each run is done once, by whichever has its shard", async () => {
		first = await moverProcess("mover-4");
		const { begun } = await ask(first.operator, { rate: 1_600 });
		expect(begun).toHaveLength(MONTHS.length * SHARDS - 2);
		for (const { id } of begun) await untilIs(id, "done");
		const done = await records()
			.find({ _id: /^archive/ })
			.toArray();
		expect(new Set(done.map(({ node }) => node))).toEqual(new Set(["mover-3", "mover-4"]));
		for (const month of MONTHS) for (const shard of EVERY_SHARD) expect(await archivedRows(shard, month)).toBe(ROWS);
		const told = [first, second].flatMap(({ process }) => process.output().match(/run archive-\S+ is done/g) ?? []);
		expect([...told].sort()).toEqual(done.map(({ _id }) => `run ${_id} is done`).sort());
	}, 120_000);

	afterAll(async () => {
		await first?.process.end("SIGTERM");
		await second?.process.end("SIGTERM");
	});
});

describe("the record of a run", () => {
	test("is changed only while it is as expected, and put there only once", async () => {
		const broker = await system.run("archive.mover", { NODE_ID: "recorder" });
		const { runs } = broker.getLocalService("archive.mover") as unknown as HasRuns;
		const add = () => runs.add({ ...newRun("on-record", work, "ops", realNowMs()), state: "stopped", node: "n1" });
		const work = { kind: "archive", shard: 0, month: "2020_01" } as const;
		expect([await eventually(add, "the record"), await add()]).toEqual([true, false]);
		const before = await runs.get("on-record");
		expect(await runs.change("on-record", { states: ["running", "planned"] }, { state: "done" })).toBe(false);
		expect(await runs.change("on-record", { states: ["stopped"], node: "n2" }, { state: "done" })).toBe(false);
		expect(await runs.change("no-such-run", { states: ["stopped"] }, { state: "done" })).toBe(false);
		expect(await runs.get("on-record")).toEqual(before);
		// The same once more is a change all the same: it was found.
		for (const _ of ["once", "twice"]) {
			expect(await runs.change("on-record", { states: ["stopped"], node: "n1" }, { step: "taken" })).toBe(true);
		}
		await records().deleteOne({ _id: "on-record" });
		await broker.stop();
	});
});

describe("a mover by the clock", () => {
	let broker: ServiceBroker;
	let mover: Mover | null = null;
	const maps: number[] = [];

	beforeAll(async () => {
		broker = await system.run("archive.mover");
	});
	afterEach(() => mover?.stop());

	function startMover(own: Partial<MoverDeps> = {}): Mover {
		const { runs } = broker.getLocalService("archive.mover") as unknown as HasRuns;
		const nothing = () => undefined;
		mover = new Mover({
			clusters,
			runs,
			node: "by-the-clock",
			nowMs: realNowMs,
			isRealClock: true,
			limits: { serviceDays: DAYS, archiveDays: DAYS + 1, mostDrops: 2 },
			everyMs: 500,
			graceMs: 0,
			firstLookMs: 0,
			rowsPerSecond: 100_000,
			moveRowsPerSecond: 100_000,
			movesAtOnce: 2,
			onMap: ({ version }) => maps.push(version),
			onRows: nothing,
			onRuns: nothing,
			onDone: nothing,
			onError: nothing,
			logger: { info: nothing, warn: nothing, error: nothing },
			...own,
		});
		mover.start();
		return mover;
	}

	test("with a time of grace keeps the sources of archived months, and says so", async () => {
		const patient = startMover({ graceMs: 3_600_000 });
		const { kept } = await eventually(() => patient.lastLook, "a look");
		expect(kept.map(({ month, reason }) => [month, reason.code])).toEqual(
			MONTHS.map((month) => [month, "SOURCE_KEPT"]),
		);
		expect(await placeOf(3, THIRD)).toHaveProperty("retained");
	});

	test("that is years ahead drops no source, and opens no run", async () => {
		const future = startMover({ nowMs: () => realNowMs() + 10 * 365 * 86_400_000, isRealClock: false });
		const look = await eventually(() => future.lastLook, "a look");
		expect(look.refused?.code).toBe("CLOCK_DOUBTFUL");
		await eventually(() => future.lastLook?.at !== look.at, "another look");
		expect(await placeOf(3, THIRD)).toHaveProperty("retained");
		expect(await records().countDocuments({ state: { $ne: "done" } })).toBe(0);
	});

	test("drops sources whose time of grace is over, and holds back more drops than are allowed", async () => {
		const now = startMover();
		await eventually(async () => !Object.hasOwn((await placeOf(3, THIRD)) ?? {}, "retained"), "the source dropped");
		const sources = await shards
			.cluster("c1")
			.db(shardDatabase(3))
			.listCollections({ name: /^retained_archive_/ })
			.toArray();
		expect(sources).toEqual([]);
		await eventually(() => {
			const kept = now.lastLook?.kept ?? [];
			return kept.length === MONTHS.length && kept.every(({ reason }) => reason.code === "TOO_MANY_DROPS");
		}, "the drops held back");
		expect(await records().countDocuments({ kind: "drop" })).toBe(0);
	});

	test("drops no month that somebody has decided to keep for longer since it was planned", async () => {
		const run = newRun(`drop-s03-${FIRST}`, { kind: "drop", shard: 3, month: FIRST }, "schedule", realNowMs());
		// The deed itself: the mover of the broker, to which nobody has said so, would take a run on record.
		const tools = {
			...moveDeps(clusters, "test"),
			limits: { serviceDays: DAYS, archiveDays: DAYS + 300, mostDrops: 2 },
		};
		await expect(HANDLERS.drop(tools as Tools, run).next()).rejects.toMatchObject({ code: "NOT_DUE" });
		expect(await placeOf(3, FIRST)).toMatchObject({ tier: "archive" });
		expect(await archivedRows(3, FIRST)).toBe(ROWS);
	});

	test("drops months that are confirmed, and forgets them", async () => {
		const heard: string[] = [];
		const now = startMover({ onDone: ({ id }) => heard.push(id) });
		expect((await now.ask({ confirmDrops: 2 }, "ops")).begun).toEqual([]);
		expect((await now.ask({ month: FIRST }, "ops")).begun).toHaveLength(SHARDS);
		for (const shard of EVERY_SHARD) await untilIs(`drop-s0${shard}-${FIRST}`, "done");
		expect(await placeOf(0, FIRST)).toBeUndefined();
		// Two are left, which is not too many any more: they go by themselves.
		for (const month of [SECOND, THIRD])
			for (const shard of EVERY_SHARD) await untilIs(`drop-s0${shard}-${month}`, "done");
		const left = await shards.cluster("c0").db(archiveDatabase(2)).listCollections().toArray();
		expect(left).toEqual([]);
		expect(await records().findOne({ _id: `drop-s00-${SECOND}` })).toMatchObject({ askedBy: "schedule" });
		expect(heard).toContain(`drop-s00-${FIRST}`);
	});

	test("leaves a run that was refused until it is asked for afresh", async () => {
		const { runs } = broker.getLocalService("archive.mover") as unknown as HasRuns;
		const work = { kind: "archive", shard: 0, month: "2020_01" } as const;
		await runs.add(newRun("archive-s00-2020_01", work, "ops", realNowMs()));
		startMover();
		const refused = await untilIs("archive-s00-2020_01", "refused");
		expect(refused).toMatchObject({ reason: { code: "MONTH_UNKNOWN" }, endedAt: expect.any(String) });
		await eventually(() => mover?.lastLook, "a look");
		expect(await records().findOne({ _id: "archive-s00-2020_01" })).toEqual(refused);
	});

	test("forgets that a run was asked for afresh once it is under way, so that a later try goes on", async () => {
		const { runs } = broker.getLocalService("archive.mover") as unknown as HasRuns;
		const month = addMonths(THIRD, 1);
		const work = { kind: "archive", shard: 0, month } as const;
		await runs.add({ ...newRun(archiveId(0, month), work, "ops", realNowMs()), fresh: true });
		startMover();
		expect(await untilIs(archiveId(0, month), "done")).not.toHaveProperty("fresh");
	});

	describe("that finds the shard busy", () => {
		const work = { kind: "archive", shard: 1, month: addMonths(THIRD, 1) } as const;
		const id = archiveId(1, work.month);

		/** A record that says "running" and is silent for long, and a shard that is busy with `served` until `deed` is over. */
		async function whileBusyWith(served: string, deed: () => Promise<unknown>): Promise<void> {
			const { runs } = broker.getLocalService("archive.mover") as unknown as HasRuns;
			const lock = await takeShardLock(moveDeps(clusters, "elsewhere"), 1, { kind: "archive", run: served });
			const longAgo = newRun(id, work, "ops", realNowMs() - 120_000);
			await records().deleteOne({ _id: id });
			await runs.add({ ...longAgo, state: "running", node: "elsewhere" });
			await deed().finally(() => lock?.release());
			await untilIs(id, "done");
		}

		test("with that very run leaves its record alone, however long it is silent", () =>
			whileBusyWith(id, async () => {
				const told: string[] = [];
				const logger = { info: (text: string) => void told.push(text), warn: () => undefined, error: () => undefined };
				startMover({ logger });
				await eventually(() => told.some((text) => text.includes(`${id} is waiting`)), "a try");
				expect(await records().findOne({ _id: id })).toMatchObject({ state: "running", node: "elsewhere" });
			}));

		test("with another run says so in the record of one that is long silent", () =>
			whileBusyWith("another", async () => {
				startMover();
				expect(await untilIs(id, "waiting")).toMatchObject({
					reason: { code: "SHARD_BUSY" },
					node: "elsewhere",
				});
			}));
	});

	test("forgets runs that ended long ago", async () => {
		const longAgo = new Date(realNowMs() - 401 * 86_400_000).toISOString();
		await records().updateOne({ _id: "archive-s00-2020_01" }, { $set: { endedAt: longAgo } });
		startMover();
		await eventually(
			async () => (await records().findOne({ _id: "archive-s00-2020_01" })) === null,
			"the run forgotten",
		);
		expect(await records().countDocuments({ state: "done" })).toBeGreaterThan(0);
	});
});
