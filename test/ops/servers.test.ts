import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { MongoClient } from "mongodb";
import { connect, RetentionPolicy } from "nats";
import { findServer, startMongod, startNats } from "../../ops/embedded/index.ts";

const RUN_DIR = path.join(__dirname, "..", "..", ".run");
const FIND = { runDir: RUN_DIR, say: () => undefined };

jest.setTimeout(240_000); // the first run may have to download

let dir: string;
const stops: (() => Promise<void>)[] = [];

beforeEach(async () => {
	dir = await mkdtemp(path.join(tmpdir(), "servers-"));
});
afterEach(async () => {
	await Promise.all(stops.splice(0).map((stop) => stop()));
	await rm(dir, { recursive: true, force: true });
});

/** Stops it after the test, whatever happens. */
function owned<T extends { stop(): Promise<void> }>(server: T): T {
	stops.push(server.stop);
	return server;
}

async function killed({ pid, ended }: { pid: number; ended: Promise<string> }): Promise<void> {
	process.kill(pid, "SIGKILL");
	expect(await ended).toBe("SIGKILL");
}

async function occupy(port: number): Promise<Server> {
	// At once, because mongod asks whoever has its old port whether it is itself, and waits half a minute for the answer.
	const server = createServer((socket) => socket.destroy());
	await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
	stops.push(() => new Promise((resolve) => server.close(() => resolve())));
	return server;
}

const portOf = (url: string) => Number(new URL(url).port);

test("nats-server syncs always and keeps its messages through kill -9, on the same port", async () => {
	const binary = await findServer("nats-server", FIND);
	const first = owned(await startNats({ binary, dir }));
	const varz = (await (await fetch(`${first.monitorUrl}/varz`)).json()) as { jetstream: { config: object } };
	expect(varz.jetstream.config).toMatchObject({ sync_always: true });
	const client = await connect({ servers: first.url, reconnect: false });
	const manager = await client.jetstreamManager();
	await manager.streams.add({ name: "S", subjects: ["s"], retention: RetentionPolicy.Workqueue });
	await client.jetstream().publish("s", "hello");
	await client.close();
	await killed(first);

	const second = owned(await startNats({ binary, dir }));
	expect(second.url).toBe(first.url);
	const again = await connect({ servers: second.url });
	const stream = await (await again.jetstreamManager()).streams.info("S");
	expect(stream.state.messages).toBe(1);
	await again.close();
});

test("nats-server takes another port when its old one is taken, and says so when that port was demanded", async () => {
	const binary = await findServer("nats-server", FIND);
	const first = owned(await startNats({ binary, dir }));
	await first.stop();
	await occupy(portOf(first.url));
	const second = owned(await startNats({ binary, dir }));
	expect(second.url).not.toBe(first.url);
	await second.stop();
	await expect(startNats({ binary, dir, port: portOf(first.url) })).rejects.toThrow(/address already in use/);
});

test("mongod keeps its data through kill -9, and through another port", async () => {
	const binary = await findServer("mongod", FIND);
	const first = owned(await startMongod({ binary, dir, name: "c0" }));
	expect(first.uri).toMatch(/^mongodb:\/\/127\.0\.0\.1:\d+\/\?replicaSet=c0$/);
	await using(first.uri, (client) =>
		client
			.db("d")
			.collection("c")
			.insertOne({ a: 1 }, { writeConcern: { w: "majority", journal: true } }),
	);
	await killed(first);
	await occupy(portOf(first.uri));

	const second = owned(await startMongod({ binary, dir, name: "c0" }));
	expect(second.uri).not.toBe(first.uri);
	await using(second.uri, async (client) => {
		expect(await client.db("d").collection("c").countDocuments({})).toBe(1);
		await client
			.db("d")
			.collection("c")
			.insertOne({ a: 2 }, { writeConcern: { w: "majority" } });
	});
	await Promise.all([second.stop(), second.stop()]);

	const third = owned(await startMongod({ binary, dir, name: "c0" }));
	expect(third.uri).toBe(second.uri);
	await using(third.uri, async (client) => {
		expect(await client.db("d").collection("c").countDocuments({})).toBe(2);
	});
});

test("a folder that cannot be written to gives one clear line", async () => {
	await expect(startNats({ binary: "nats-server", dir: "/proc/nope/nats" })).rejects.toThrow(/^Cannot write to .+$/);
	await expect(startMongod({ binary: "mongod", dir: "/dev/null/x", name: "c0" })).rejects.toThrow(
		/^Cannot write to .+$/,
	);
});

test("a binary that ends at once gives its reason", async () => {
	await expect(startMongod({ binary: "/no/such/mongod", dir, name: "c0" })).rejects.toThrow(/ENOENT/);
	await expect(startMongod({ binary: "/bin/false", dir, name: "c0" })).rejects.toThrow(/exit code 1/);
});

async function using<T>(uri: string, work: (client: MongoClient) => Promise<T>): Promise<T> {
	const client = new MongoClient(uri, { serverSelectionTimeoutMS: 10_000 });
	try {
		return await work(client);
	} finally {
		await client.close();
	}
}
