import type { InboxAlarm } from "../../contracts/alarm.ts";
import { setUp } from "../../ops/system.ts";
import { eventually } from "../support/eventually.ts";
import { type LoadSent, runLoad } from "../support/load.ts";
import { brokenPromises, okIds, type Sent, tally } from "../support/oracle.ts";
import { processesNaming, type ServiceProcess, startProcess } from "../support/processes.ts";
import { TestQueue } from "../support/queue.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { configOf } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

/** Two of each kind as separate processes that know only NATS and the databases. The tests run in their order, on one system. */

const SERVICES = {
	create: "gateway,alarm.create",
	query: "gateway,alarm.query",
	consume: "alarm.consume",
	router: "gateway,shard.router",
} as const;
type Kind = keyof typeof SERVICES;
type NodeId = `${Kind}-${1 | 2}`;
const ALL: NodeId[] = ["create-1", "create-2", "query-1", "query-2", "consume-1", "consume-2", "router-1"];
const CREATION_EDGES: NodeId[] = ["create-1", "create-2"];
const LOAD = 750;
const DISTURB_AT = 250;
const REPLIES_PER_READ = 7;
const USERS = 30;

let system: TestSystem;
let queue: TestQueue;
let shards: TestShards;
const running = new Map<NodeId, ServiceProcess>();
/** All that was ever sent to this system. */
const everSent: Sent[] = [];

beforeAll(async () => {
	system = await startSystem();
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
	await Promise.all(ALL.map((nodeId) => start(nodeId)));
});
afterAll(async () => {
	await Promise.all([...running.values()].map((process) => process.end("SIGTERM")));
	await queue?.close();
	await shards?.close();
	await system?.stop();
	expect(processesNaming(system.servers.dir)).toEqual([]);
});

async function start(nodeId: NodeId): Promise<void> {
	const kind = nodeId.slice(0, -2) as Kind;
	running.set(nodeId, await startProcess(system.servers, nodeId, SERVICES[kind]));
}

function node(nodeId: NodeId): ServiceProcess {
	const process = running.get(nodeId);
	if (process === undefined) throw new Error(`${nodeId} was not started`);
	return process;
}

const producerAt = (nodeId: NodeId) => restClient(node(nodeId).url, system.keys.producerKey);

/** One read of an inbox while a load runs: its status, or why there was none. */
interface Read {
	edge: NodeId;
	result: number | string;
}
interface Round {
	sent: LoadSent[];
	reads: Read[];
	/** Of each customer, by edge: the whole inbox. */
	inboxes(edge: NodeId): Promise<InboxAlarm[][]>;
}

/** A load through both creation edges, with reads at both query edges in between; `disturb` happens in the middle of it. */
async function runRound(name: string, disturb: () => Promise<unknown>): Promise<Round> {
	const userIds = Array.from({ length: USERS }, (_, at) => `${name}-u${at}`);
	const tokens = new Map<string, string>();
	for (const userId of userIds) tokens.set(userId, await system.tokenOf(userId));
	const customer = (edge: NodeId, userId: string) => restClient(node(edge).url, tokens.get(userId));
	const reads: Read[] = [];
	const read = async (at: number) => {
		const edge = at % 2 === 0 ? "query-1" : "query-2";
		const userId = userIds[at % USERS] ?? "";
		reads.push({ edge, result: await readOnce(customer(edge, userId), userId) });
	};
	const onReply = (count: number) => {
		if (count === DISTURB_AT) return disturb();
		return count % REPLIES_PER_READ === 0 ? read(count / REPLIES_PER_READ) : undefined;
	};
	const producers = CREATION_EDGES.map(producerAt);
	const sent = await runLoad({ name, count: LOAD, userIds, producers, onReply });
	everSent.push(...sent);
	const inboxes = (edge: NodeId) => Promise.all(userIds.map((userId) => inboxOf(customer(edge, userId), userId)));
	return { sent, reads, inboxes };
}

async function readOnce(customer: Rest, userId: string): Promise<Read["result"]> {
	try {
		return (await customer("GET", `/v1/users/${userId}/alarms`)).status;
	} catch (error) {
		return String((error as { cause?: unknown }).cause ?? error);
	}
}

async function inboxOf(customer: Rest, userId: string): Promise<InboxAlarm[]> {
	const { status, body } = await customer("GET", `/v1/users/${userId}/alarms?limit=100`);
	expect(status).toBe(200);
	expect(body.nextCursor).toBeNull();
	return body.items;
}

/** The promises, once all that was accepted is out of the queue. */
async function expectPromisesKept({ sent, inboxes }: Round): Promise<void> {
	await eventually(async () => (await queue.left()) === 0, "the lanes empty");
	expect(brokenPromises(everSent, await shards.all("alarms_"))).toEqual([]);
	const [first, second] = await Promise.all([inboxes("query-1"), inboxes("query-2")]);
	expect(first).toEqual(second);
	const shown = new Set(first?.flat().map(({ id }) => id));
	const ok = okIds(sent);
	expect(ok.filter((id) => !shown.has(id))).toEqual([]);
	expect(shown.size - ok.length).toBeLessThanOrEqual(tally(sent).unknown);
}

/** Whoever sends to, or reads at, an edge that nobody has touched must not notice anything. */
function expectUntouched({ sent, reads }: Round, touched?: NodeId): void {
	const notOk = sent.filter(({ told, producer }) => told.is !== "ok" && CREATION_EDGES[producer] !== touched);
	expect(notOk).toEqual([]);
	expect(reads.filter(({ edge, result }) => edge !== touched && result !== 200)).toEqual([]);
}

test("two of each share a load, and every edge shows the same", async () => {
	const round = await runRound("calm", async () => undefined);
	expectUntouched(round);
	await expectPromisesKept(round);
});

test("an edge asks the services that it does not run over NATS, wherever they run", async () => {
	const ids = okIds(everSent).slice(0, 50);
	for (const edge of CREATION_EDGES) {
		const replies = await Promise.all(ids.map((id) => producerAt(edge)("GET", `/v1/alarms/${id}/status`)));
		expect(new Set(replies.map(({ body }) => body.status))).toEqual(new Set(["stored"]));
		const operator = restClient(node(edge).url, system.keys.opsKey);
		expect(await operator("GET", "/v1/ops/map")).toMatchObject({ status: 200, body: { version: expect.any(Number) } });
	}
});

const KINDS = ["create", "query", "consume"] as const;

describe.each(KINDS)("one %s of two in the middle of a load", (kind) => {
	const touched: NodeId = `${kind}-1`;

	test("killed: nothing that was accepted is lost, and nothing is doubled", async () => {
		const round = await runRound(`kill-${kind}`, () => node(touched).end("SIGKILL"));
		await start(touched);
		expectUntouched(round, touched);
		await expectPromisesKept(round);
	});

	test("told to stop: it ends with exit code 0, and the same holds", async () => {
		const round = await runRound(`stop-${kind}`, () => node(touched).end("SIGTERM"));
		const how = await node(touched).ended;
		await start(touched);
		expect(how).toBe("exit code 0");
		expectUntouched(round, touched);
		await expectPromisesKept(round);
	});
});

test("a worker told to stop hands back what it has not begun, so that nobody waits for the ack wait", async () => {
	// So long that nothing which waits for it is stored while this test runs.
	await setUp(configOf(system.servers, { ACK_WAIT_SECONDS: "3600" }), undefined);
	await node("consume-2").end("SIGTERM");
	const { mongods } = system.servers;
	const mongodPids = Object.values(mongods).map(({ pid }) => pid);
	// While the databases stand still the worker gathers batches that it cannot begin.
	signalAll(mongodPids, "SIGSTOP");
	const round = await runRound("hand-back", async () => {
		await eventually(async () => (await queue.inHand("realtime")) > 20, "batches in hand");
		const ended = node("consume-1").end("SIGTERM");
		signalAll(mongodPids, "SIGCONT");
		await ended;
	}).finally(() => signalAll(mongodPids, "SIGCONT"));
	expect(await node("consume-1").ended).toBe("exit code 0");
	expect(await queue.left()).toBeGreaterThan(0);
	await start("consume-1");
	await start("consume-2");
	await expectPromisesKept(round);
});

function signalAll(pids: number[], signal: NodeJS.Signals): void {
	for (const pid of pids) process.kill(pid, signal);
}
