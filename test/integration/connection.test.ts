import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { guard } from "../../ops/embedded/guard.ts";
import { findServer } from "../../ops/embedded/index.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { endOf } from "../../ops/embedded/server-process.ts";
import { StreamConnection } from "../../streams/connection.ts";
import { eventually } from "../support/eventually.ts";

let dir: string;
let port: number;
let server: ChildProcess;
const errors: string[] = [];

beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "alarm-test-"));
	port = await freePort();
});
afterAll(async () => {
	await stop();
	await rm(dir, { recursive: true, force: true });
});

async function start(password: string, more = ""): Promise<void> {
	const binary = await findServer("nats-server", { runDir: resolve(".run"), say: () => undefined });
	const file = join(dir, "nats.conf");
	const jetstream = `jetstream { store_dir: "${dir}", sync_interval: always }`;
	await writeFile(
		file,
		`listen: "127.0.0.1:${port}"\n${jetstream}\nauthorization { user: a, password: ${password} }\n${more}`,
	);
	server = guard(spawn(binary, ["-c", file], { stdio: ["ignore", "ignore", "pipe"] }));
	server.stderr?.on("data", (chunk: Buffer) => errors.push(String(chunk)));
}

async function stop(): Promise<void> {
	const ended = endOf(server);
	server.kill("SIGKILL");
	await ended;
}

test("a password that is wrong for a while, as when it is being changed, does not close the connection for good", async () => {
	await start("right");
	const connection = new StreamConnection({
		natsUrl: `nats://a:right@127.0.0.1:${port}`,
		purpose: "test",
		inspect: () => Promise.resolve({ is: "sound" }),
		onWrong: () => undefined,
		onError: () => undefined,
	});
	await connection.sound();
	await stop();
	await start("wrong");
	// Two refusals in a row are what used to end it.
	await eventually(() => errors.join("").split("authentication error").length > 3, "three refused logins");
	expect(connection.trouble).not.toBeNull();
	await stop();
	await start("right");
	await eventually(() => connection.trouble === null, "the connection in use again");
	await connection.close();
});

test("a server that takes no message as large as a full batch is refused, by the name of the setting", async () => {
	await stop();
	await start("right", "max_payload: 262144\n");
	const { promise: told, resolve: tell } = Promise.withResolvers<string>();
	const connection = new StreamConnection({
		natsUrl: `nats://a:right@127.0.0.1:${port}`,
		purpose: "test",
		inspect: () => Promise.resolve({ is: "sound" }),
		onWrong: tell,
		onError: () => undefined,
	});
	expect(await told).toBe("nats-server: max_payload is 262144; it must be at least 655360");
	expect(connection.jetstream).toBeNull();
	await connection.close();
});
