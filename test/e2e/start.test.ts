import { type ChildProcess, spawn } from "node:child_process";
import { createReadStream, existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { MongoClient } from "mongodb";
import type { NewAlarm } from "../../contracts/alarm.ts";
import { guard } from "../../ops/embedded/guard.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { eventually } from "../support/eventually.ts";
import { type Rest, restClient } from "../support/rest.ts";

/** `npm start` as a newcomer gets it: real processes, real servers, one address. The tests run in their order, on one directory. */

interface Ready {
	url: string;
	control: string;
	edges: { create: string; query: string };
	producerKey: string;
	opsKey: string;
	userToken: { userId: string; token: string };
	mongo: { clusters: Record<string, string> };
	pids: { nats: number; mongod: Record<string, number>; create: number; query: number; consume: number; mover: number };
}

let dir: string;
let port: number;
let running: Started | undefined;

beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "alarm-start-"));
	port = await freePort();
});
afterAll(async () => {
	await running?.stop("SIGTERM");
	for (const pid of ours()) process.kill(pid, "SIGKILL");
	await rm(dir, { recursive: true, force: true });
});

class Started {
	readonly child: ChildProcess;
	output = "";
	readonly ended: Promise<number | null>;

	constructor() {
		const env = { ...process.env, ALARM_RUN_DIR: dir, PORT: String(port), ACK_WAIT_SECONDS: "3" };
		this.child = spawn(process.execPath, ["ops/start.ts"], { env, stdio: ["ignore", "pipe", "pipe"] });
		guard(this.child);
		for (const stream of [this.child.stdout, this.child.stderr]) {
			stream?.on("data", (chunk: Buffer) => {
				this.output += chunk;
			});
		}
		this.ended = new Promise((resolve) => this.child.once("exit", resolve));
	}

	async up(): Promise<Ready> {
		await eventually(() => {
			if (this.child.exitCode !== null) throw new Error(`npm start ended: ${this.output}`);
			// Not the file alone: a start that was killed leaves its own behind.
			return this.output.includes("curl") && existsSync(join(dir, "ready.json"));
		}, "npm start");
		return ready();
	}

	async stop(signal: NodeJS.Signals): Promise<number | null> {
		this.child.kill(signal);
		return this.ended;
	}
}

async function ready(): Promise<Ready> {
	return JSON.parse(await readFile(join(dir, "ready.json"), "utf8")) as Ready;
}

/** Processes whose command line or environment names our directory. */
function ours(): number[] {
	return readdirSync("/proc")
		.map(Number)
		.filter((pid) => pid > 0 && pid !== process.pid && namesOurs(pid));
}

function namesOurs(pid: number): boolean {
	try {
		return ["cmdline", "environ"].some((file) => readFileSync(`/proc/${pid}/${file}`, "utf8").includes(dir));
	} catch {
		return false;
	}
}

test("a start brings everything up behind one address, and an alarm goes its whole way", async () => {
	running = new Started();
	const { url, producerKey, userToken } = await running.up();
	expect(url).toBe(`http://127.0.0.1:${port}`);
	expect(running.output).toContain("curl");
	const producer = restClient(url, producerKey);
	const alarm = { userId: userToken.userId, category: "transfer", title: "Hello", body: "first" };
	expect(await producer("POST", "/v1/alarms", alarm)).toMatchObject({ status: 202, body: { via: "queue" } });
	const customer = restClient(url, userToken.token);
	const items = await eventually(async () => {
		const { body } = await customer("GET", `/v1/users/${userToken.userId}/alarms`);
		return body.items.length > 0 && body.items;
	});
	expect(items).toMatchObject([{ title: "Hello" }]);
	expect((await restClient(url, (await ready()).opsKey)("GET", "/v1/ops/map")).status).toBe(200);
	expect((await restClient(url)("GET", "/health/ready")).body.status).toBe("ready");
});

test("a second start in the same directory is refused and names the first", async () => {
	const second = new Started();
	expect(await second.ended).toBe(1);
	expect(second.output).toContain(`http://127.0.0.1:${port}`);
});

test("a worker killed twice in the middle of a load loses nothing and doubles nothing", async () => {
	const { url, producerKey, mongo } = await ready();
	const producer = restClient(url, producerKey);
	const sent = new Map<string, NewAlarm>();
	let killed = Promise.resolve();
	await sendFile(producer, async (id, alarm) => {
		sent.set(id, alarm);
		if (sent.size === 300 || sent.size === 900) killed = killed.then(killWorker);
		// The first kill in the middle of the load; the load goes on only when the second worker is up, and meets the second kill.
		if (sent.size > 1_000) await killed;
	});
	expect(sent.size).toBe(2_000);
	await eventually(
		async () => (await statesOf(producer, [...sent.keys()])).every((state) => state === "stored"),
		"all stored",
	);
	const rows = await allRows(mongo.clusters);
	const stored = rows.filter(({ id }) => sent.has(id));
	expect(stored).toHaveLength(sent.size);
	expect(rows).toHaveLength(sent.size + 1);
	for (const { id, userId, title, body, data } of stored) {
		const alarm = sent.get(id);
		expect({ userId, title, body, data }).toEqual({
			userId: alarm?.userId,
			title: alarm?.title,
			body: alarm?.body,
			data: alarm?.data,
		});
	}
});

async function sendFile(producer: Rest, accepted: (id: string, alarm: NewAlarm) => Promise<void>): Promise<void> {
	const lines = createInterface({ input: createReadStream("examples/alarms.ndjson") })[Symbol.asyncIterator]();
	const sender = async () => {
		for (let line = await lines.next(); !line.done; line = await lines.next()) {
			const { status, body } = await producer("POST", "/v1/alarms", line.value);
			expect(status).toBe(202);
			await accepted(body.id, JSON.parse(line.value));
		}
	};
	await Promise.all(Array.from({ length: 32 }, sender));
}

/** Kills the worker where it stands; the start brings up another. */
async function killWorker(): Promise<void> {
	const { consume } = (await ready()).pids;
	process.kill(consume, "SIGKILL");
	await eventually(async () => (await ready()).pids.consume !== consume, "another worker");
}

async function statesOf(producer: Rest, ids: string[]): Promise<string[]> {
	const states: string[] = [];
	for (let at = 0; at < ids.length; at += 64) {
		const some = ids
			.slice(at, at + 64)
			.map(async (id) => (await producer("GET", `/v1/alarms/${id}/status`)).body.status);
		states.push(...(await Promise.all(some)));
	}
	return states;
}

async function allRows(clusters: Record<string, string>) {
	const found = await Promise.all(["c0", "c1"].map((name) => rowsOf(clusters[name] ?? "")));
	return found.flat();
}

async function rowsOf(uri: string) {
	const client = new MongoClient(uri, { promoteBuffers: true });
	const { databases } = await client.db().admin().listDatabases({ nameOnly: true });
	const rows = [];
	for (const { name } of databases.filter((database) => database.name.startsWith("alarm_s"))) {
		for (const month of await client
			.db(name)
			.listCollections({ name: /^alarms_/ })
			.toArray()) {
			rows.push(...(await client.db(name).collection(month.name).find().toArray()));
		}
	}
	await client.close();
	return rows.map(({ _id, userId, title, body, data }) => ({
		id: Buffer.from(_id as unknown as Uint8Array).toString("base64url"),
		userId,
		title,
		body,
		data,
	}));
}

async function addDatabase(): Promise<string> {
	const child = spawn(process.execPath, ["ops/cluster-add.ts"], { env: { ...process.env, ALARM_RUN_DIR: dir } });
	let output = "";
	for (const stream of [child.stdout, child.stderr])
		stream.on("data", (chunk: Buffer) => {
			output += chunk;
		});
	await new Promise((resolve) => child.once("close", resolve));
	return output;
}

async function clustersNow(): Promise<{ name: string; answers: boolean }[]> {
	const { url, opsKey } = await ready();
	return (await restClient(url, opsKey)("GET", "/v1/ops/clusters")).body.clusters;
}

test("another database is added, belongs to the start, and holds rows of the system", async () => {
	const output = await addDatabase();
	expect(output).toContain("c2 (mongodb://127.0.0.1:");
	expect(output).toContain("shard rebalance");
	const { pids, mongo } = await ready();
	expect(pids.mongod.c2).toBeGreaterThan(0);
	expect(mongo.clusters.c2).toContain("replicaSet=c2");
	expect(await clustersNow()).toContainEqual(expect.objectContaining({ name: "c2", from: "map", answers: true }));
});

test("nobody else can ask the start for a database, and it takes no odd names", async () => {
	const { control, opsKey } = await ready();
	const ask = async (key: string, name: unknown) =>
		(await restClient(control, key)("POST", "/databases", { name })).status;
	expect(await ask("wrong", "c3")).toBe(401);
	expect(await ask(opsKey, "../c3")).toBe(422);
	expect((await ready()).pids.mongod.c3).toBeUndefined();
});

test("SIGTERM ends everything, with exit code 0 and no process left", async () => {
	expect(await running?.stop("SIGTERM")).toBe(0);
	expect(existsSync(join(dir, "ready.json"))).toBe(false);
	expect(ours()).toEqual([]);
});

test("the next start finds the data, also after everything was killed at once", async () => {
	running = new Started();
	const { pids } = await running.up();
	running.child.kill("SIGKILL");
	const { nats, mongod, ...roles } = pids;
	for (const pid of [nats, ...Object.values(mongod), ...Object.values(roles)]) process.kill(pid, "SIGKILL");
	await running.ended;
	running = new Started();
	const { url, userToken } = await running.up();
	const { body } = await restClient(url, userToken.token)("GET", `/v1/users/${userToken.userId}/alarms`);
	expect(body.items.map(({ title }: { title: string }) => title)).toContain("Hello");
	expect(await clustersNow()).toContainEqual(expect.objectContaining({ name: "c2", answers: true }));
});

test("what a killed start left behind is cleaned up by the next", async () => {
	await running?.stop("SIGKILL");
	running = new Started();
	const { pids } = await running.up();
	const alive = [pids.nats, ...Object.values(pids.mongod), pids.create, pids.query, pids.consume, pids.mover];
	expect(ours().sort()).toEqual([...alive, running.child.pid].sort());
	expect(await running.stop("SIGINT")).toBe(0);
	expect(ours()).toEqual([]);
});
