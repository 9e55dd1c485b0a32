import { spawn } from "node:child_process";
import { guard } from "../../ops/embedded/guard.ts";
import { processesNaming, type ServiceProcess, startProcess } from "../support/processes.ts";
import { startSystem, type TestSystem } from "../support/system.ts";

/** The example as another team runs it: plain Node, and nothing but what the environment gives it. */

interface Ended {
	code: number | null;
	stdout: string;
	stderr: string;
}

let system: TestSystem;
let processes: ServiceProcess[] = [];
let settings: Record<string, string>;

beforeAll(async () => {
	system = await startSystem();
	const { servers, keys } = system;
	const roles = { create: "gateway,alarm.create", query: "gateway,alarm.query", consume: "alarm.consume" };
	processes = await Promise.all(Object.entries(roles).map(([id, services]) => startProcess(servers, id, services)));
	settings = {
		NATS_URL: servers.nats.url,
		PRODUCER_KEY: keys.producerKey,
		USER_ID: keys.userToken.userId,
		USER_TOKEN: keys.userToken.token,
		TEST_DIR: servers.dir,
	};
});
afterAll(async () => {
	await Promise.all(processes.map((process) => process.end("SIGTERM")));
	await system?.stop();
	expect(processesNaming(system.servers.dir)).toEqual([]);
});

async function runExample(env: Record<string, string>): Promise<Ended> {
	const child = spawn(process.execPath, ["examples/other-node/index.js"], { env, stdio: ["ignore", "pipe", "pipe"] });
	guard(child);
	const { promise, resolve } = Promise.withResolvers<number | null>();
	child.on("close", resolve);
	const [stdout, stderr, code] = await Promise.all([textOf(child.stdout), textOf(child.stderr), promise]);
	return { code, stdout, stderr };
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
	const parts: Buffer[] = [];
	for await (const part of stream) parts.push(part);
	return Buffer.concat(parts).toString();
}

test("a plain Moleculer node sends an alarm, reads it, says so and ends", async () => {
	const { code, stdout, stderr } = await runExample(settings);
	expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
	const [, id] = /^accepted ([\w-]{27}) via queue$/m.exec(stdout) ?? [];
	expect(id).toBeDefined();
	expect(stdout).toContain(`readable ${id}: Hello, From other-node-`);
});

test("without a key it says which setting is missing, and calls nobody", async () => {
	const { PRODUCER_KEY: _key, ...rest } = settings;
	const { code, stdout, stderr } = await runExample(rest);
	expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
	expect(stderr).toBe("These are missing in the environment:\n  PRODUCER_KEY: the key of this producer\n");
});

const WRONG_KEY = `ak_000000000000_${"x".repeat(43)}`;

test.each([
	["a wrong key", { PRODUCER_KEY: WRONG_KEY }, "PRODUCER_KEY was refused: UNAUTHENTICATED. "],
	["a wrong token", { USER_TOKEN: "a.b.c" }, "USER_TOKEN was refused: UNAUTHENTICATED. "],
	["another customer's token", { USER_ID: "somebody-else" }, "USER_TOKEN was refused: FORBIDDEN. "],
])("with %s it says what was refused", async (_what, wrong, message) => {
	const { code, stderr } = await runExample({ ...settings, ...wrong });
	expect(code).toBe(1);
	expect(stderr.startsWith(message)).toBe(true);
	expect(stderr).not.toContain(WRONG_KEY);
});
