import type { ServiceBroker } from "moleculer";
import { connect } from "nats";
import { streamOf } from "../../streams/lanes.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNowMs } from "../support/now.ts";
import { startProcess } from "../support/processes.ts";
import { TestQueue } from "../support/queue.ts";
import { type Reply, type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let edge: ServiceBroker;
let producer: Rest;
let queue: TestQueue;
let shards: TestShards;

beforeAll(async () => {
	system = await startSystem();
	edge = await system.run("gateway,alarm.create");
	producer = restClient(urlOf(edge), system.keys.producerKey);
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
});
afterAll(async () => {
	await queue?.close();
	await shards?.close();
	await system?.stop();
});

const good = { userId: "u1", category: "card", title: "t", body: "b" };
const post = (more: object = {}) => producer("POST", "/v1/alarms", { ...good, ...more });
const outbox = () => shards.all("outbox");
const health = async () => (await producer("GET", "/health/ready")) as Reply;
const nats = () => system.servers.nats.pid;
const mongod = (name: string) => system.servers.mongods[name]?.pid ?? 0;
/** An edge that uses its queue: a test may begin while the one before it is still being made good. */
const accepting = () => eventually(async () => (await post()).body.via === "queue", "the queue in use");
const idIn = ({ body }: Reply): string => body.id;

async function whileFrozen(pids: number[], deed: () => Promise<void>): Promise<void> {
	for (const pid of pids) await freeze(pid);
	try {
		await deed();
	} finally {
		pids.forEach(thaw);
	}
}

test("while the queue stands still, alarms go to the outbox and are answered 202; it is relayed by itself", async () => {
	await accepting();
	let ids: string[] = [];
	await whileFrozen([nats()], async () => {
		const first = await post();
		expect(first).toMatchObject({ status: 202, body: { status: "accepted", via: "outbox" } });
		const others = await Promise.all(Array.from({ length: 50 }, () => post()));
		expect(others.map(({ body }) => body.via)).toEqual(Array(50).fill("outbox"));
		ids = [first, ...others].map(idIn);
		const saved = (await outbox()).map(({ payload }) => Buffer.from(payload).toString()).join("\n");
		expect(ids.filter((id) => !saved.includes(id))).toEqual([]);
		expect(await health()).toMatchObject({
			status: 200,
			body: { status: "degraded", checks: { "queue (publish)": expect.stringContaining("go to the outbox") } },
		});
	});
	await eventually(async () => (await outbox()).length === 0, "the outbox empty");
	const queued = await queue.texts("realtime");
	// The first was published as well, by the server that only stood still: never more than once per message id.
	expect(ids.map((id) => queued.filter((text) => text.includes(id)).length)).toEqual(ids.map(() => 1));
	await accepting();
	expect((await health()).body.status).toBe("ready");
});

test("a bulk request goes to the outbox as well, item by item", async () => {
	await accepting();
	await whileFrozen([nats()], async () => {
		const bulk = await producer("POST", "/v1/alarms/bulk", { alarms: [good, { ...good, title: "" }] });
		expect(bulk).toMatchObject({
			status: 207,
			body: { accepted: 1, rejected: 1, items: [{ id: expect.any(String) }, {}] },
		});
	});
	await eventually(async () => (await outbox()).length === 0, "the outbox empty");
});

test("with one cluster standing still too, another takes the outbox", async () => {
	await accepting();
	await whileFrozen([nats(), mongod("c0")], async () => {
		expect(await post()).toMatchObject({ status: 202, body: { via: "outbox" } });
		const onC1 = await shards.cluster("c1").db("alarm_cluster").collection("outbox").countDocuments();
		expect(onC1).toBeGreaterThan(0);
	});
	await eventually(async () => (await outbox()).length === 0, "the outbox empty");
});

test("with the queue and every outbox silent nothing is called accepted: unknown with the ids, or refused", async () => {
	await accepting();
	await whileFrozen([nats(), mongod("c0"), mongod("c1")], async () => {
		const [single, bulk] = await Promise.all([
			post(),
			producer("POST", "/v1/alarms/bulk", { alarms: [good, { ...good, title: "" }] }),
		]);
		expect(single).toMatchObject({
			status: 503,
			body: { code: "ACCEPTANCE_UNKNOWN", ids: [expect.stringMatching(/^[\w-]{27}$/)] },
		});
		expect(single.headers.get("retry-after")).toBe("2");
		expect(bulk.body.items).toMatchObject([
			{ error: { code: "ACCEPTANCE_UNKNOWN", ids: [expect.any(String)] } },
			{ error: { code: "VALIDATION_FAILED" } },
		]);
		const many = await Promise.all(Array.from({ length: 20 }, () => post()));
		expect(many.filter(({ status }) => status !== 503)).toEqual([]);
	});
	await accepting();
	await eventually(async () => (await outbox()).length === 0, "the outbox empty");
});

test("a full outbox refuses before anything is written, and says when to come again", async () => {
	const own = restClient(
		urlOf(await system.run("gateway,alarm.create", { OUTBOX_MAX_BYTES: "1048576" })),
		system.keys.producerKey,
	);
	const filler = {
		_id: "bulk:999999999999999",
		lane: "bulk",
		epoch: "filler",
		number: 1,
		payload: Buffer.alloc(1_048_000),
		sinceMs: realNowMs(),
	};
	for (const name of ["c0", "c1"])
		await shards
			.cluster(name)
			.db("alarm_cluster")
			.collection("outbox")
			.insertOne(filler as never);
	await whileFrozen([nats()], async () => {
		await eventually(async () => {
			const reply = await own("POST", "/v1/alarms", { ...good, body: "나".repeat(3_000) });
			return reply.status === 503 && reply.body.code === "OVERLOADED" && reply.headers.get("retry-after") === "5";
		}, "the refusal");
	});
	await eventually(async () => (await outbox()).length === 0, "the outbox empty");
});

test("a creation edge that starts without a queue serves, and joins it without a restart", async () => {
	await freeze(nats());
	const started = await startProcess(system.servers, "alone", "gateway,alarm.create").finally(() => thaw(nats()));
	const own = restClient(started.url, system.keys.producerKey);
	await eventually(async () => (await own("POST", "/v1/alarms", good)).body.via === "queue", "the queue in use");
	expect(await started.end("SIGTERM")).toBe("exit code 0");
});

test("a process's last word is its account: every batch it numbered was answered", async () => {
	const started = await startProcess(system.servers, "accountant", "gateway,alarm.create");
	const own = restClient(started.url, system.keys.producerKey);
	const before = new Set((await accounts()).map(({ _id }) => _id));
	for (let n = 0; n < 3; n++) expect((await own("POST", "/v1/alarms", good)).status).toBe(202);
	expect(await started.end("SIGTERM")).toBe("exit code 0");
	const fresh = (await accounts()).filter(({ _id }) => !before.has(_id));
	expect(fresh).toMatchObject([{ settled: 3, voids: [] }]);
});

const accounts = async () => (await shards.all("ledger_")).filter(({ _id }) => String(_id).endsWith(":account"));

test("a full stream is no outage: it refuses, and its batch's number goes to the next one", async () => {
	const started = await startProcess(system.servers, "full", "gateway,alarm.create");
	const own = restClient(started.url, system.keys.producerKey);
	const before = new Set((await accounts()).map(({ _id }) => _id));
	const connection = await connect({ servers: system.servers.nats.url });
	const manager = await connection.jetstreamManager();
	const { config } = await manager.streams.info(streamOf("realtime"));
	expect((await own("POST", "/v1/alarms", good)).status).toBe(202);
	await manager.streams.update(config.name, { ...config, max_bytes: 1 });
	for (let n = 0; n < 5; n++)
		expect(await own("POST", "/v1/alarms", good)).toMatchObject({ status: 503, body: { code: "OVERLOADED" } });
	await manager.streams.update(config.name, config);
	await eventually(async () => (await own("POST", "/v1/alarms", good)).body.via === "queue", "the queue in use");
	expect(await started.end("SIGTERM")).toBe("exit code 0");
	const fresh = (await accounts()).filter(({ _id }) => !before.has(_id));
	expect(fresh).toMatchObject([{ settled: 2, voids: [] }]);
	await connection.close();
});

test("a bulk stream that is away sends no realtime alarm to the outbox", async () => {
	const connection = await connect({ servers: system.servers.nats.url });
	const manager = await connection.jetstreamManager();
	const { config } = await manager.streams.info(streamOf("bulk"));
	await manager.streams.delete(config.name);
	for (let n = 0; n < 5; n++) {
		expect(await post({ lane: "bulk" })).toMatchObject({ status: 202, body: { via: "outbox" } });
		expect(await post()).toMatchObject({ status: 202, body: { via: "queue" } });
	}
	await manager.streams.add(config);
	await eventually(async () => (await outbox()).length === 0, "the outbox empty");
	await connection.close();
});
