import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endOf } from "../../ops/embedded/server-process.ts";
import { eventually } from "../support/eventually.ts";
import { processesNaming } from "../support/processes.ts";

let dir: string;
let starter: ChildProcess;

beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), "guardian-"));
	const env = { ...process.env, TMPDIR: dir };
	starter = spawn(process.execPath, ["test/support/starter-child.ts"], { env, stdio: ["ignore", "pipe", "inherit"] });
});
afterEach(async () => {
	starter.kill("SIGKILL");
	for (const line of processesNaming(dir)) process.kill(Number.parseInt(line, 10), "SIGKILL");
	await eventually(() => processesNaming(dir).length === 0, "nothing left by the test");
	await rm(dir, { recursive: true, force: true });
});

test("servers and services, also frozen ones, end with whoever started them after a kill -9", async () => {
	const [text] = await once(starter.stdout as NodeJS.EventEmitter, "data");
	const pids = JSON.parse(String(text)) as number[];
	const ours = processesNaming(dir).map((line) => Number.parseInt(line, 10));
	expect(ours.sort()).toEqual([...pids, starter.pid].sort());
	const ended = endOf(starter);
	starter.kill("SIGKILL");
	expect(await ended).toBe("SIGKILL");
	await eventually(() => processesNaming(dir).length === 0, "no process left");
});
