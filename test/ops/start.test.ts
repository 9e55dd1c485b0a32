import { spawn } from "node:child_process";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { endOf } from "../../ops/embedded/server-process.ts";
import { takeLock } from "../../ops/start/lock.ts";
import { birthOf, isOurs, stopLeftOvers } from "../../ops/start/processes.ts";
import { mongoAddresses } from "../../ops/start/ready.ts";
import { restartDelayMs } from "../../ops/start/roles.ts";
import { openRunDir } from "../../ops/start/run-dir.ts";
import { pidsOf, type Running, stopGroups } from "../../ops/start/running.ts";

let dir: string;
beforeEach(async () => {
	dir = await realpath(await mkdtemp(path.join(tmpdir(), "start-")));
});
afterEach(() => rm(dir, { recursive: true }));

test("a second start in the same directory is refused with the first one's process and address", async () => {
	const file = path.join(dir, "lock");
	const release = await takeLock(file, "http://127.0.0.1:3000");
	await expect(takeLock(file, "x")).rejects.toThrow(`process ${process.pid}, http://127.0.0.1:3000`);
	await release();
	await (await takeLock(file, "x"))();
});

test("a lock whose process is gone, or is another one by now, is taken over", async () => {
	const file = path.join(dir, "lock");
	await writeFile(file, JSON.stringify({ pid: process.pid, birth: "long ago", url: "x" }));
	await (await takeLock(file, "y"))();
	await writeFile(file, JSON.stringify({ pid: 4_194_303, birth: "1", url: "x" }));
	await (await takeLock(file, "y"))();
});

test("a process is known by its id and its birth", async () => {
	expect(await birthOf(process.pid)).toBe(await birthOf(process.pid));
	expect(await birthOf(4_194_303)).toBeUndefined();
});

test("only recorded processes that work in the run directory are stopped", async () => {
	const runDir = await openRunDir(dir);
	const wait = ["-e", "setInterval(() => {}, 1000)"];
	const ours = spawn(process.execPath, [...wait, `${dir}/logs`], { stdio: "ignore" });
	const stranger = spawn(process.execPath, [...wait, `${dir}-other/logs`], { stdio: "ignore" });
	const ended = [endOf(ours), endOf(stranger)];
	await writeFile(runDir.pids, JSON.stringify({ create: ours.pid, query: stranger.pid }));
	expect(await isOurs(stranger.pid ?? 0, dir)).toBe(false);
	expect(await stopLeftOvers(runDir)).toBe(1);
	expect(await ended[0]).toBe("SIGTERM");
	expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
	stranger.kill();
	await ended[1];
});

test("a process that keeps dying is started again ever later, but within half a minute", () => {
	expect([0, 1, 2, 3, 20].map(restartDelayMs)).toEqual([500, 500, 1_000, 2_000, 30_000]);
});

test("whoever uses something stops before it, and process ids are found by name", () => {
	const part = (name: string, pid: number) => ({ name, pid, ended: Promise.resolve(""), stop: async () => undefined });
	const role = (pid: number) => ({ pid: () => pid, stop: async () => undefined });
	const running: Running = {
		front: { url: "", stop: async () => undefined },
		roles: new Map([["mover", role(4)] as const, ["create", role(1)] as const, ["query", role(2)] as const]),
		backends: new Map([part("c0", 10), part("nats", 11), part("a0", 12)].map((backend) => [backend.name, backend])),
	};
	running.roles.set("consume", role(3));
	const [front, edges, worker, mover, nats, databases] = stopGroups(running);
	expect(front).toEqual([running.front]);
	expect(edges).toEqual([running.roles.get("create"), running.roles.get("query")]);
	expect(worker).toEqual([running.roles.get("consume")]);
	expect(mover).toEqual([running.roles.get("mover")]);
	expect(nats).toEqual([running.backends.get("nats")]);
	expect(databases).toEqual([running.backends.get("c0"), running.backends.get("a0")]);
	expect(pidsOf(running)).toEqual({ nats: 11, mongod: { c0: 10, a0: 12 }, create: 1, query: 2, consume: 3, mover: 4 });
});

test("database addresses are listed by name", () => {
	const env = { MONGO_SERVICE_URIS: "c0=mongodb://a/?x=1;c1=mongodb://b", MONGO_ARCHIVE_URIS: "a0=mongodb://c" };
	const clusters = { c0: "mongodb://a/?x=1", c1: "mongodb://b", a0: "mongodb://c" };
	expect(mongoAddresses(env)).toEqual({ service: env.MONGO_SERVICE_URIS, archive: env.MONGO_ARCHIVE_URIS, clusters });
});
