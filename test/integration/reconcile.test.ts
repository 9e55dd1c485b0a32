import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ServiceBroker } from "moleculer";
import type { Collection, Document } from "mongodb";
import { connect, type JetStreamManager, type NatsConnection } from "nats";
import type { Config } from "../../config.ts";
import type { AuditReport } from "../../contracts/audit.ts";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { idTimeMs, newAlarmId, shardOf } from "../../domain/alarms/ids.ts";
import { exitCodeOf } from "../../domain/jobs/reconcile.ts";
import { alarmsOf, ledgerOf } from "../../domain/routing/collection-catalog.ts";
import { addMonths, dayOf, monthOf } from "../../domain/time/periods.ts";
import { audit } from "../../jobs/reconcile/reconcile.ts";
import { lastDays } from "../../jobs/reconcile/reconcile-runner.ts";
import { guard } from "../../ops/embedded/guard.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { streamOf } from "../../streams/lanes.ts";
import { archiveMonth, restoreMonth } from "../support/archived.ts";
import { eventually } from "../support/eventually.ts";
import { realMonth, realNowMs } from "../support/now.ts";
import { TestQueue } from "../support/queue.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let worker: ServiceBroker;
let producer: Rest;
let operator: Rest;
let queue: TestQueue;
let shards: TestShards;
let clusters: Clusters;
let nats: NatsConnection;
let manager: JetStreamManager;

beforeAll(async () => {
	system = await startSystem();
	const url = urlOf(await system.run("gateway,alarm.create,shard.router"));
	producer = restClient(url, system.keys.producerKey);
	operator = restClient(url, system.keys.opsKey);
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
	clusters = new Clusters(system.config);
	nats = await connect({ servers: system.servers.nats.url });
	manager = await nats.jetstreamManager();
});
afterAll(async () => {
	await nats?.close();
	await clusters?.close();
	await queue?.close();
	await shards?.close();
	await system?.stop();
});

/** Batches that the edge has numbered: each post of a test is alone in its own. */
let numbered = 0;
async function post(): Promise<Buffer> {
	const reply = await producer("POST", "/v1/alarms", {
		userId: `u${numbered}`,
		category: "card",
		title: "t",
		body: "b",
	});
	// The number of one that was refused goes to the next.
	if (reply.status === 202) numbered++;
	return Buffer.from(reply.body.id ?? "", "base64url");
}
const HOUR_MS = 3_600_000;
const reconcile = (more: { waitMs?: number; clusters?: Clusters } = {}) =>
	audit({ clusters, ...lastDays(1, realNowMs()), waitMs: 10_000, ...more });
const drained = () => eventually(async () => (await queue.left()) === 0, "the lanes empty");
const ledgers = () => ["c0", "c1"].map((name) => ledgerOn(name));
const ledgerOn = (name: string): Collection<Document & { _id: string }> =>
	shards
		.cluster(name)
		.db("alarm_cluster")
		.collection(ledgerOf(dayOf(realNowMs())));
const accounts = async () => (await shards.all("ledger_")).filter(({ _id }) => String(_id).endsWith(":account"));
/** The edge has told the ledger what it has promised up to now. */
const accounted = () =>
	eventually(async () => (await accounts()).some(({ settled }) => settled === numbered), "the newest account");
const epochOfEdge = async () => (await accounts())[0]?.epoch as string;

/** Workers say so by themselves some ten seconds later. */
async function sayArrived(atMs: number): Promise<void> {
	const documents = shards.cluster("c0").db("alarm_meta").collection<Document & { _id: string }>("documents");
	await documents.updateOne({ _id: "low-watermark" }, { $set: { atMs } }, { upsert: true });
}

/** As if workers said so all the time, and not ten seconds late: whatever is accounted meanwhile is in its slot. */
async function whileArrived<T>(deed: Promise<T>): Promise<T> {
	const timer = setInterval(() => void sayArrived(realNowMs()), 50);
	return deed.finally(() => clearInterval(timer));
}

/** After {@link sayArrived}: what is missing now is not on its way. */
async function reconcileArrived(more: { clusters?: Clusters } = {}): Promise<AuditReport> {
	await sayArrived(realNowMs());
	return reconcile({ waitMs: 30_000, ...more });
}

/** Deletes the newest message of the realtime lane, as a broken disk or a wrong hand would. */
async function dropNewest(): Promise<void> {
	const { state } = await manager.streams.info(streamOf("realtime"));
	await manager.streams.deleteMessage(streamOf("realtime"), state.last_seq);
}

const isClean = (report: AuditReport) =>
	expect([exitCodeOf(report), report.wrong, report.unknown]).toEqual([0, [], []]);

describe("while no worker runs", () => {
	let last: Buffer;

	test("what was accepted is pending: neither lost nor clean", async () => {
		for (let n = 0; n < 3; n++) last = await post();
		await accounted();
		const report = await reconcile({ waitMs: 0 });
		expect(report).toMatchObject({ lowWatermark: null, batches: 0, pending: { batches: 3, ids: 0 }, wrong: [] });
		expect(exitCodeOf(report)).toBe(2);
	});

	test("what a full stream has refused is no loss", async () => {
		const { config } = await manager.streams.info(streamOf("realtime"));
		await manager.streams.update(config.name, { ...config, max_bytes: 1 });
		await post();
		await manager.streams.update(config.name, config);
		await post();
		await accounted();
		expect((await reconcile({ waitMs: 0 })).pending).toEqual({ batches: 4, ids: 0 });
	});

	test("once a worker has stored it, everything is clean", async () => {
		worker = await system.run("alarm.consume");
		await drained();
		const report = await whileArrived(reconcile({ waitMs: 60_000 }));
		isClean(report);
		expect(report).toMatchObject({ batches: 4, ids: 4, slots: { stored: 4 }, pending: { batches: 0, ids: 0 } });
		expect(await shards.slot(last)).not.toBeNull();
	});
});

describe("with everything arrived", () => {
	beforeEach(() => sayArrived(realNowMs()));

	test("a slot that was removed is missing", async () => {
		const id = await post();
		await drained();
		const month = await shards.inMonth(id);
		const slot = (await month.findOne({ _id: id })) as Document & { _id: Buffer };
		await month.deleteOne({ _id: id });
		const report = await reconcileArrived();
		expect(report.missing).toEqual({ count: 1, kept: [id.toString("base64url")] });
		expect(exitCodeOf(report)).toBe(1);
		await month.insertOne(slot);
		isClean(await reconcileArrived());
	});

	test("a copy in another month, or on another cluster, is a double", async () => {
		const id = await post();
		await drained();
		const month = await shards.inMonth(id);
		const slot = (await month.findOne({ _id: id })) as Document & { _id: Buffer };
		const next = await shards.inMonth(id, alarmsOf(addMonths(monthOf(idTimeMs(id)), 1)));
		const home = (await shards.map()).shards[shardOf(id, 16)]?.cluster;
		const away = home === "c0" ? "c1" : "c0";
		const copy = shards.cluster(away).db(month.dbName).collection<Document & { _id: Buffer }>(month.collectionName);
		for (const other of [next, copy]) {
			await other.insertOne(slot);
			const { doubled, wrong } = await reconcileArrived();
			expect(doubled).toMatchObject({ count: 1, kept: [{ id: id.toString("base64url") }] });
			expect(doubled.kept[0]?.places).toEqual(
				expect.arrayContaining([
					`${home}/${month.dbName}.${month.collectionName}`,
					`${other === next ? home : away}/${month.dbName}.${other.collectionName}`,
				]),
			);
			expect(wrong).toEqual(["1 ids have more than one slot"]);
			await other.deleteOne({ _id: id });
		}
		await copy.drop();
		isClean(await reconcileArrived());
	});

	test("a slot that only stands where no reader looks is misplaced", async () => {
		const id = await post();
		await drained();
		const month = await shards.inMonth(id);
		const slot = (await month.findOne({ _id: id })) as Document & { _id: Buffer };
		const next = await shards.inMonth(id, alarmsOf(addMonths(monthOf(idTimeMs(id)), 1)));
		await next.insertOne(slot);
		await month.deleteOne({ _id: id });
		expect((await reconcileArrived()).misplaced).toMatchObject({ count: 1, kept: [{ id: id.toString("base64url") }] });
		await month.insertOne(slot);
		await next.deleteOne({ _id: id });
	});

	test("a ledger row that was removed is a lost batch, and a row on two clusters is one batch", async () => {
		await post();
		await drained();
		await accounted();
		const _id = `${await epochOfEdge()}:${String(numbered).padStart(12, "0")}`;
		const found = await Promise.all(ledgers().map((ledger) => ledger.findOne({ _id })));
		const row = found.find((one) => one !== null);
		if (row === null || row === undefined) throw new Error("the batch has no row");
		for (const ledger of ledgers()) await ledger.deleteOne({ _id });
		expect((await reconcileArrived()).lostBatches).toEqual({
			count: 1,
			kept: [{ epoch: await epochOfEdge(), numbers: [numbered, numbered] }],
		});
		for (const ledger of ledgers()) await ledger.insertOne(row);
		const report = await reconcileArrived();
		isClean(report);
		expect(report.ids).toBe(report.batches);
		await ledgerOn("c1").deleteOne({ _id });
	});

	test("an id in two batches is found", async () => {
		const id = await post();
		await drained();
		const rows = (await Promise.all(ledgers().map((ledger) => ledger.find().toArray()))).flat();
		const row = rows.find(({ ids }) => ids !== undefined && Buffer.from(ids).equals(id));
		if (row === undefined) throw new Error("the batch has no row");
		await ledgerOn("c1").insertOne({ ...row, _id: "other:000000000001" });
		expect((await reconcileArrived()).doubledBatches).toEqual({
			count: 1,
			kept: [
				{
					id: id.toString("base64url"),
					batches: expect.arrayContaining(["other:1", row._id.replace(/:0+/, ":")]),
				},
			],
		});
		await ledgerOn("c1").deleteOne({ _id: "other:000000000001" });
	});

	test("an id of a closed month has its failure row; a gap without an account is told, and is no loss", async () => {
		const id = newAlarmId("old", realNowMs() - 400 * 24 * HOUR_MS);
		const queued = {
			producer: "demo",
			acceptedAtMs: realNowMs(),
			alarm: { userId: "old", category: "c", title: "t", body: "b" },
		};
		const skewed = newAlarmId("skew", realNowMs() + 2 * 60_000);
		await queue.put("realtime", encodeItem(id, queued).line, 10);
		await queue.put("realtime", encodeItem(skewed, queued).line, 13);
		await drained();
		const report = await reconcileArrived();
		isClean(report);
		expect(report.slots.failed).toBe(2);
		expect(report.unaccounted).toEqual({ count: 2, kept: [{ epoch: "test", numbers: [11, 12] }] });
	});

	test("an id whose month is being archived, or is archived, is in its place; one that its archive lost is missing", async () => {
		const id = await post();
		await drained();
		const [shard, month] = [shardOf(id, 16), monthOf(idTimeMs(id))];
		const expectClean = async () => isClean(await reconcileArrived());
		await archiveMonth(clusters, shard, month, expectClean);
		await expectClean();
		const database = `alarm_a${String(shard).padStart(2, "0")}`;
		const archived = shards.cluster("c0").db(database).collection<Document & { _id: Buffer }>(alarmsOf(month));
		const slot = (await archived.findOne({ _id: id })) as Document & { _id: Buffer };
		await archived.deleteOne({ _id: id });
		expect((await reconcileArrived()).missing).toEqual({ count: 1, kept: [id.toString("base64url")] });
		await archived.insertOne(slot);
		await restoreMonth(clusters, shard, month);
		await expectClean();
	});

	/** With other addresses than the system's, and closed at the end. */
	const reconcileWith = async (more: Partial<Config>) => {
		const half = new Clusters({ ...system.config, ...more });
		return reconcileArrived({ clusters: half }).finally(() => half.close());
	};
	const NOBODY = "mongodb://127.0.0.1:9/?directConnection=true";

	// At the same time: each waits twice for answers that do not come.
	test("an archive, or a cluster, that does not answer is named, and nothing there is called missing", async () => {
		const [c0, c1] = system.config.serviceClusters;
		if (c0 === undefined || c1 === undefined) throw new Error("there must be two clusters");
		const [shard, month] = [3, realMonth()];
		await archiveMonth(clusters, shard, month);
		const [noArchive, noCluster] = await Promise.all([
			reconcileWith({ archiveClusters: [{ name: "a0", uri: NOBODY }] }),
			reconcileWith({ metaUri: c0.uri, serviceClusters: [c0, { ...c1, uri: NOBODY }] }),
		]).finally(() => restoreMonth(clusters, shard, month));
		expect(noArchive).toMatchObject({ unknown: ["the cluster a0 did not answer"], wrong: [] });
		expect(noCluster).toMatchObject({ unknown: ["the cluster c1 did not answer"], wrong: [] });
		expect(noCluster.slots.stored + noCluster.slots.failed + noCluster.unjudged.ids).toBe(noCluster.ids);
		expect(noCluster.unjudged.ids).toBeGreaterThan(0);
		expect([noArchive, noCluster].map(exitCodeOf)).toEqual([2, 2]);
	});

	describe("an operator", () => {
		const state = async () => (await operator("GET", "/v1/ops/reconcile")).body;

		test("starts a run and asks for its report", async () => {
			expect(await operator("POST", "/v1/ops/reconcile", {})).toMatchObject({ status: 202, body: { running: true } });
			const ended = await eventually(async () => {
				const now = await state();
				return now.running ? null : now;
			}, "the end of the run");
			expect(ended).toMatchObject({ error: null, report: { wrong: [], unknown: [], ids: expect.any(Number) } });
			expect(ended.report.ids).toBeGreaterThan(0);
		});

		test("gets the run that is under way instead of a second one", async () => {
			const starts = await Promise.all([1, 2, 3].map((days) => operator("POST", "/v1/ops/reconcile", { days })));
			expect(new Set(starts.map(({ body }) => body.startedAt)).size).toBe(1);
			await eventually(async () => !(await state()).running, "the end of the run");
		});

		test("and nobody else may, nor for more days than there are", async () => {
			expect((await producer("POST", "/v1/ops/reconcile", {})).status).toBe(403);
			expect((await producer("GET", "/v1/ops/reconcile")).status).toBe(403);
			expect((await operator("POST", "/v1/ops/reconcile", { days: 8 })).status).toBe(422);
		});
	});

	describe("npm run reconcile", () => {
		const run = (...args: string[]) => runIn(system.servers.env, args);
		const runIn = async (more: Record<string, string>, args: string[]) => {
			const env = { ...process.env, ...more, ALARM_RUN_DIR: system.servers.dir };
			const child = spawn(process.execPath, ["ops/reconcile.ts", ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
			guard(child);
			const ended = { stdout: "", stderr: "" };
			child.stdout.on("data", (part) => (ended.stdout += part));
			child.stderr.on("data", (part) => (ended.stderr += part));
			const [code] = await once(child, "close");
			return { ...ended, code };
		};

		test("ends with 0 when all is right, and says so", async () => {
			const { code, stdout } = await whileArrived(run("--rate", "100000"));
			expect(stdout).toMatch(/All right: \d+ ids of \d+ batches, each in exactly one slot/);
			expect(code).toBe(0);
		});

		test("takes the addresses of the local start when the environment names none", async () => {
			const {
				NATS_URL: nats,
				NATS_MONITOR_URLS: natsMonitor,
				MONGO_SERVICE_URIS,
				MONGO_ARCHIVE_URIS,
			} = system.servers.env;
			const mongo = { service: MONGO_SERVICE_URIS, archive: MONGO_ARCHIVE_URIS };
			await writeFile(join(system.servers.dir, "ready.json"), JSON.stringify({ nats, natsMonitor, mongo }));
			expect(await whileArrived(runIn({}, ["--json"]))).toMatchObject({
				code: 0,
				stdout: expect.stringContaining('"wrong":[]'),
			});
		});

		test("ends with 1 and the id when one is missing", async () => {
			const id = await post();
			await drained();
			const month = await shards.inMonth(id);
			const slot = (await month.findOne({ _id: id })) as Document & { _id: Buffer };
			await month.deleteOne({ _id: id });
			const [told, json] = await whileArrived(Promise.all([run(), run("--json", "--days", "1")]));
			expect(told.stdout).toContain(`MISSING: ids without a slot: 1\n  ${id.toString("base64url")}`);
			expect(told.stdout).toContain("Not right: 1 ids have no slot.");
			expect(JSON.parse(json.stdout)).toMatchObject({ missing: { count: 1 }, wrong: ["1 ids have no slot"] });
			expect([told.code, json.code]).toEqual([1, 1]);
			await month.insertOne(slot);
		});

		test.each([
			["a day that is none", ["--from", "2026-02-30"], "It must be a day from"],
			["too many days", ["--days", "8"], "It must be a whole number from 1 to 7"],
		])("ends with 2 for %s", async (_what, args, told) => {
			const { code, stderr } = await run(...args);
			expect(stderr).toContain(told);
			expect(code).toBe(2);
		});
	});
});

describe("a batch that was dropped from the stream, unacknowledged", () => {
	test("is lost: in the middle, and as the last of a process that lives", async () => {
		await worker.stop();
		await post();
		await post();
		await dropNewest();
		const middle = numbered;
		await post();
		await post();
		await dropNewest();
		const last = numbered;
		worker = await system.run("alarm.consume");
		await drained();
		await accounted();
		const report = await reconcileArrived();
		const epoch = await epochOfEdge();
		expect(report.lostBatches).toEqual({
			count: 2,
			kept: [
				{ epoch, numbers: [middle, middle] },
				{ epoch, numbers: [last, last] },
			],
		});
		expect(report.wrong).toEqual(["2 promised batches were never stored"]);
	});
});
