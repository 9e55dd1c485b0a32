import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { connect, DiscardPolicy } from "nats";
import { decodeBatch, encodeItem } from "../../domain/batch.ts";
import { newAlarmId } from "../../domain/ids.ts";
import { findServer } from "../../ops/embedded/index.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { streamOf } from "../../streams/lanes.ts";
import { BatchNumbers, HEADER, LanePublisher } from "../../streams/publisher.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let url: string;
let producer: Rest;

beforeAll(async () => {
	system = await startSystem();
	url = urlOf(await system.run("gateway,alarm.create"));
	producer = restClient(url, system.keys.producerKey);
});
afterAll(() => system?.stop());

const good = { userId: "u1", category: "card", title: "t", body: "b" };
const queuedItem = (n: number) =>
	encodeItem(newAlarmId("u1", Date.now()), {
		producer: "p",
		acceptedAtMs: n,
		alarm: { ...good, body: "나".repeat(100) },
	});

test("requests at the same time ride together: few messages, gapless numbers, every item once", async () => {
	const connection = await connect({ servers: system.servers.nats.url });
	const numbers = new BatchNumbers();
	const publisher = new LanePublisher("bulk", () => connection.jetstream(), numbers);
	const items = Array.from({ length: 2_000 }, (_, n) => queuedItem(n));
	await Promise.all(items.map((item) => publisher.publish(item)));
	const found = await readLane(connection, "bulk", numbers.epoch);
	expect(found.map(({ number }) => number)).toEqual(found.map((_, index) => index + 1));
	expect(found.length).toBeLessThan(items.length / 50);
	const ids = found.flatMap(({ payload }) => decodeBatch(payload).map(({ id }) => id?.toString("base64url")));
	expect(new Set(ids)).toEqual(new Set(items.map(({ id }) => id.toString("base64url"))));
	expect(ids).toHaveLength(items.length);
	await connection.close();
});

async function readLane(connection: Awaited<ReturnType<typeof connect>>, lane: "bulk" | "realtime", epoch: string) {
	const manager = await connection.jetstreamManager();
	const { state } = await manager.streams.info(streamOf(lane));
	const found: { number: number; payload: Uint8Array }[] = [];
	for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
		const message = await manager.streams.getMessage(streamOf(lane), { seq });
		if (message.header.get(HEADER.epoch) === epoch)
			found.push({ number: Number(message.header.get(HEADER.number)), payload: message.data });
	}
	return found;
}

test("what waits too long behind a frozen queue is refused, and was never sent", async () => {
	const connection = await connect({ servers: system.servers.nats.url });
	const publisher = new LanePublisher("bulk", () => connection.jetstream(), new BatchNumbers());
	await freeze(system.servers.nats.pid);
	const items = Array.from({ length: 10 }, (_, n) => queuedItem(n));
	const first = items.slice(0, 2).map((item) => publisher.publish(item));
	const behind = items.slice(2).map((item) => publisher.publishMany([item]));
	const [settled, late] = await Promise.all([Promise.allSettled(first), Promise.all(behind)]);
	thaw(system.servers.nats.pid);
	expect(settled).toMatchObject(Array(2).fill({ status: "rejected", reason: { type: "ACCEPTANCE_UNKNOWN" } }));
	const types = late.flat().map((one) => one.status === "rejected" && one.reason.type);
	// Two were in flight: the singles together, and one of the batches.
	expect(types.sort()).toEqual(["ACCEPTANCE_UNKNOWN", ...Array(7).fill("OVERLOADED")]);
	await connection.close();
});

test("a full stream refuses before anything is accepted, and says when to come again", async () => {
	const connection = await connect({ servers: system.servers.nats.url });
	const manager = await connection.jetstreamManager();
	const { config } = await manager.streams.info(streamOf("realtime"));
	await manager.streams.update(config.name, { ...config, max_bytes: 1 });
	const reply = await producer("POST", "/v1/alarms", good);
	expect(reply).toMatchObject({ status: 503, body: { code: "OVERLOADED" } });
	expect(reply.headers.get("retry-after")).toBe("5");
	await manager.streams.update(config.name, config);
	expect((await producer("POST", "/v1/alarms", good)).status).toBe(202);
	await connection.close();
});

test("a frozen queue is unknown, not refused: 503 with the ids to ask about", async () => {
	await freeze(system.servers.nats.pid);
	try {
		const reply = await producer("POST", "/v1/alarms", good);
		expect(reply).toMatchObject({
			status: 503,
			body: { code: "ACCEPTANCE_UNKNOWN", ids: [expect.stringMatching(/^[\w-]{27}$/)] },
		});
		expect(reply.headers.get("retry-after")).toBe("2");
		const bulk = await producer("POST", "/v1/alarms/bulk", { alarms: [good, { ...good, title: "" }] });
		expect(bulk).toMatchObject({
			status: 207,
			body: {
				items: [
					{ error: { code: "ACCEPTANCE_UNKNOWN", ids: [expect.any(String)] } },
					{ error: { code: "VALIDATION_FAILED" } },
				],
			},
		});
	} finally {
		thaw(system.servers.nats.pid);
	}
	await eventually(async () => (await producer("POST", "/v1/alarms", good)).status === 202, "accepting again");
});

test("a nats-server that syncs lazily refuses the start and names the setting", async () => {
	const lazy = await startLazyNats();
	const start = system.run("alarm.create", { NATS_URL: lazy.url, NATS_MONITOR_URLS: lazy.monitorUrl });
	await expect(start).rejects.toThrow("syncs lazily; set jetstream { sync_interval: always }");
	lazy.kill();
});

test("a stream that discards the old refuses the start and names the setting", async () => {
	const connection = await connect({ servers: system.servers.nats.url });
	const manager = await connection.jetstreamManager();
	const { config } = await manager.streams.info(streamOf("bulk"));
	await manager.streams.update(config.name, { ...config, discard: DiscardPolicy.Old });
	await expect(system.run("alarm.create")).rejects.toThrow("stream ALARM_BULK: discard is old; it must be new");
	await manager.streams.update(config.name, config);
	await connection.close();
});

async function startLazyNats(): Promise<{ url: string; monitorUrl: string; kill(): void }> {
	const binary = await findServer("nats-server", { runDir: resolve(".run"), say: () => undefined });
	const [dir, port, monitor] = [join(system.servers.dir, "lazy"), await freePort(), await freePort()];
	await mkdir(dir);
	const file = join(dir, "nats.conf");
	await writeFile(
		file,
		`listen: "127.0.0.1:${port}"\nhttp: "127.0.0.1:${monitor}"\njetstream { store_dir: "${dir}" }\n`,
	);
	const child = spawn(binary, ["-c", file], { stdio: "ignore" });
	const monitorUrl = `http://127.0.0.1:${monitor}`;
	await eventually(async () => (await fetch(`${monitorUrl}/healthz`)).ok);
	return { url: `nats://127.0.0.1:${port}`, monitorUrl, kill: () => child.kill("SIGKILL") };
}
