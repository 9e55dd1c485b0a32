import type { ServiceBroker } from "moleculer";
import type { Run } from "../../contracts/archive.ts";
import { userHash } from "../../domain/alarms/ids.ts";
import { MARGIN_MS } from "../../domain/alarms/low-watermark.ts";
import { exitCodeOf } from "../../domain/jobs/reconcile.ts";
import { audit } from "../../jobs/reconcile/reconcile.ts";
import { lastDays } from "../../jobs/reconcile/reconcile-runner.ts";
import type { HasRuns } from "../../mixins/runs.mixin.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { eventually } from "../support/eventually.ts";
import { realNowMs } from "../support/now.ts";
import { TestQueue } from "../support/queue.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Erasing as an operator meets it, with the customer's alarms still in the queue. */

const GONE = "u-to-erase";
let system: TestSystem;
let shards: TestShards;
let queue: TestQueue;
let ops: ServiceBroker;
let operator: Rest;
let producer: Rest;

beforeAll(async () => {
	system = await startSystem({ ARCHIVE_EVERY_MINUTES: "0", LOGICAL_SHARDS: "4" });
	shards = new TestShards(system.servers);
	queue = await TestQueue.open(system.servers.nats.url);
	ops = await system.run("gateway,alarm.create,alarm.query,shard.router,archive.mover");
	operator = restClient(urlOf(ops), system.keys.opsKey);
	producer = restClient(urlOf(ops), system.keys.producerKey);
	await eventually(async () => (await operator("GET", "/v1/ops/archive/runs")).status === 200, "the record of runs");
});
afterAll(async () => {
	await queue?.close();
	await shards?.close();
	await system?.stop();
});

const post = async (userId: string, more: object = {}): Promise<string> => {
	const { status, body } = await producer("POST", "/v1/alarms", {
		userId,
		category: "card",
		title: "t",
		body: "b",
		...more,
	});
	expect(status).toBe(202);
	return body.id;
};
const erase = (userId = GONE) => operator("POST", "/v1/ops/erase", { userId });
const runOf = async (id: string): Promise<Run> => (await operator("GET", `/v1/ops/archive/runs/${id}`)).body;
const untilIs = (id: string, state: Run["state"]) =>
	eventually(async () => [await runOf(id)].find((run) => run.state === state), `${id} ${state}`, 100_000);
const records = () => shards.cluster("c0").db("alarm_meta").collection<{ _id: string; customer?: object }>("runs");
const stop = () => operator("POST", "/v1/ops/archive/stop", {});
/** All that was posted has been stored, as only the test knows: workers say so by themselves some ten seconds later. */
const sayArrived = () =>
	shards
		.cluster("c0")
		.db("alarm_meta")
		.collection<{ _id: string }>("documents")
		.updateOne({ _id: "low-watermark" }, { $set: { atMs: realNowMs() } }, { upsert: true });
/** As if the erase had been asked for a while ago: it need not be waited until it was. */
const backdate = (id: string) =>
	records().updateOne({ _id: id }, [
		{ $set: { "customer.startedAtMs": { $subtract: ["$customer.startedAtMs", 2 * MARGIN_MS] } } },
	]);
/** Whatever a document or an answer could say of the customer. */
const tellsOfCustomer = (what: unknown) => {
	const text = JSON.stringify(what);
	const hash = userHash(GONE);
	return [GONE, hash.toString("hex"), hash.toString("base64").slice(0, 10)].some((trace) => text.includes(trace));
};
test("erasing is asked for by operators, and of one customer", async () => {
	expect((await producer("POST", "/v1/ops/erase", { userId: GONE })).status).toBe(403);
	expect((await restClient(urlOf(ops))("POST", "/v1/ops/erase", { userId: GONE })).status).toBe(401);
	for (const body of [{}, { userId: "" }, { userId: "a b" }, { userId: GONE, all: true }])
		expect(await operator("POST", "/v1/ops/erase", body)).toMatchObject({
			status: 422,
			body: { code: "VALIDATION_FAILED" },
		});
});

describe("an erase with alarms in the queue", () => {
	let run: Run;
	const other = "u-to-stay";

	test("is on record at once, and waits while nobody says that they have arrived", async () => {
		await post(GONE);
		await post(GONE, { idempotencyKey: "k1" });
		await post(GONE, { sendAt: new Date(realNowMs() + 86_400_000).toISOString() });
		await post(other);
		const { status, body } = await erase();
		expect([status, body]).toMatchObject([202, { kind: "erase", state: "planned", month: null }]);
		run = body;
		expect(await untilIs(run.id, "waiting")).toMatchObject({ step: "swept", reason: { code: "STILL_ARRIVING" } });
	});

	test("tells nobody whom it erases", async () => {
		const answers = [
			run,
			await runOf(run.id),
			(await operator("GET", "/v1/ops/archive/runs?kind=erase")).body,
			(await operator("GET", "/v1/ops/archive")).body,
		];
		expect(answers.map(tellsOfCustomer)).toEqual([false, false, false, false]);
		expect(await records().findOne({ _id: run.id })).toMatchObject({ customer: { userId: GONE } });
	});

	test("that was stopped begins anew when the customer is to be erased again", async () => {
		expect((await stop()).body.runs).toMatchObject([{ id: run.id, state: "stopped" }]);
		expect(tellsOfCustomer((await stop()).body)).toBe(false);
		const { body } = await erase();
		expect(body).toMatchObject({ id: run.id, state: "planned", step: null });
		const { runs } = ops.getLocalService("archive.mover") as unknown as HasRuns;
		const customer = await runs.customerOf(run.id);
		expect(customer?.startedAtMs).toBeGreaterThan(Date.parse(run.updatedAt) - 1_000);
	});

	test("removes them once they have arrived, and then does not know itself whom it erased", async () => {
		await system.run("alarm.consume");
		await eventually(async () => (await queue.left()) === 0, "the lanes empty");
		await backdate(run.id);
		await sayArrived();
		const done = await untilIs(run.id, "done");
		expect(done).toMatchObject({ step: "swept again", reason: null, removed: { alarms: 3, keys: 1, ledger: 3 } });
		expect(done).not.toHaveProperty("waitingSince");
		const record = await records().findOne({ _id: run.id });
		expect(record).not.toHaveProperty("customer");
		expect(tellsOfCustomer(record)).toBe(false);
	}, 120_000);

	test("leaves the others' alarms, and a ledger in which nothing is missing", async () => {
		expect((await shards.all("alarms_")).map(({ userId }) => userId)).toEqual([other]);
		expect(await shards.all("keys_")).toEqual([]);
		const clusters = new Clusters(system.config);
		try {
			await sayArrived();
			const report = await audit({ clusters, ...lastDays(1, realNowMs()), waitMs: 60_000 });
			expect(report).toMatchObject({ ids: 1, erased: 3, slots: { stored: 1 }, wrong: [] });
			expect(exitCodeOf(report)).toBe(0);
		} finally {
			await clusters.close();
		}
	}, 90_000);

	test("is not begun anew by the next request, which is an erase of its own", async () => {
		const { body } = await erase();
		expect(body.id).not.toBe(run.id);
		expect((await stop()).status).toBe(200);
	});
});

test("an erase whose customer is not on record any more is never called done", async () => {
	const { body } = await erase("u-lost");
	await stop();
	await eventually(async () => (await runOf(body.id)).state === "stopped", "the run stopped");
	await records().updateOne({ _id: body.id }, { $unset: { customer: "" }, $set: { state: "waiting" } as object });
	expect(await untilIs(body.id, "stopped")).toMatchObject({
		endedAt: null,
		reason: { code: "STOPPED", message: "it is over, and nobody knows any more whom it has erased" },
	});
});
