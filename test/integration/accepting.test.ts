import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { connect, DiscardPolicy } from "nats";
import { Acceptance } from "../../accept/acceptance.ts";
import { GroupCommit } from "../../accept/group-commit.ts";
import { decodeBatch, encodeItem } from "../../domain/alarms/batch.ts";
import { BatchNumbers } from "../../domain/alarms/batch-numbers.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { guard } from "../../ops/embedded/guard.ts";
import { findServer } from "../../ops/embedded/index.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { streamOf } from "../../streams/lanes.ts";
import { HEADER, isRejected, publishBatch } from "../../streams/publisher.ts";
import { eventually } from "../support/eventually.ts";
import { realNowMs } from "../support/now.ts";
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
	encodeItem(newAlarmId("u1", realNowMs()), {
		producer: "p",
		acceptedAtMs: n,
		alarm: { ...good, body: "나".repeat(100) },
	});

test("requests at the same time ride together: few messages, gapless numbers, every item once", async () => {
	const connection = await connect({ servers: system.servers.nats.url });
	const numbers = new BatchNumbers("together");
	const packer = packerOn(connection, numbers);
	const items = Array.from({ length: 2_000 }, (_, n) => queuedItem(n));
	await Promise.all(items.map((item) => packer.add(item)));
	const found = await readLane(connection, "bulk", numbers.epoch);
	expect(found.map(({ number }) => number)).toEqual(found.map((_, index) => index + 1));
	expect(found.length).toBeLessThan(items.length / 50);
	const ids = found.flatMap(({ payload }) => decodeBatch(payload).map(({ id }) => id?.toString("base64url")));
	expect(new Set(ids)).toEqual(new Set(items.map(({ id }) => id.toString("base64url"))));
	expect(ids).toHaveLength(items.length);
	expect(numbers.account()).toEqual({ epoch: "together", settled: found.length, voids: [] });
	await connection.close();
});

/** The bulk lane of a real queue, with no outbox behind it. */
function packerOn(connection: Awaited<ReturnType<typeof connect>>, numbers: BatchNumbers): GroupCommit {
	const acceptance = new Acceptance("bulk", numbers, () => ({
		publish: (batch, timeoutMs) => publishBatch(connection.jetstream(), batch, timeoutMs),
		save: () => Promise.reject(new Error("there is no outbox")),
		isRejected,
	}));
	return new GroupCommit((items, sinceMs) => acceptance.accept(items, sinceMs));
}

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

test("a bulk request is refused as a whole when each item is too much; in a mix the items say so, without ids", async () => {
	const connection = await connect({ servers: system.servers.nats.url });
	const manager = await connection.jetstreamManager();
	const { config } = await manager.streams.info(streamOf("bulk"));
	await manager.streams.update(config.name, { ...config, max_bytes: 1 });
	const bulk = (...alarms: object[]) => producer("POST", "/v1/alarms/bulk", { alarms });
	const whole = await bulk(good, good);
	expect(whole).toMatchObject({ status: 503, body: { code: "OVERLOADED" } });
	expect(whole.headers.get("retry-after")).toBe("5");
	const overloaded = { error: { code: "OVERLOADED", message: expect.any(String) } };
	const half = await bulk(good, { ...good, lane: "realtime" });
	expect(half).toMatchObject({ status: 207, body: { accepted: 1, rejected: 1 } });
	expect(half.body.items).toEqual([overloaded, { id: expect.any(String) }]);
	const faulty = await bulk(good, { ...good, title: "" });
	expect(faulty).toMatchObject({ status: 207, body: { accepted: 0, rejected: 2 } });
	expect(faulty.body.items[0]).toEqual(overloaded);
	await manager.streams.update(config.name, config);
	expect((await bulk(good, good)).status).toBe(202);
	await connection.close();
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
	const child = guard(spawn(binary, ["-c", file], { stdio: "ignore" }));
	const monitorUrl = `http://127.0.0.1:${monitor}`;
	await eventually(async () => (await fetch(`${monitorUrl}/healthz`)).ok);
	return { url: `nats://127.0.0.1:${port}`, monitorUrl, kill: () => child.kill("SIGKILL") };
}
