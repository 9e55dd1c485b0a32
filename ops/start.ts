import { readFileSync } from "node:fs";
import { freePort } from "./embedded/port.ts";
import { startFront, type Targets } from "./front.ts";
import { type Backend, type BackendEnv, type BackendOptions, startAnother, startBackends } from "./start/backends.ts";
import { type Grow, startControl } from "./start/control.ts";
import { takeLock } from "./start/lock.ts";
import { killHard, stopLeftOvers } from "./start/processes.ts";
import { mongoAddresses, type Ready, readCredentials, welcome } from "./start/ready.ts";
import { ROLE_NAMES, type RoleName, startRole } from "./start/roles.ts";
import { openRunDir, type RunDir, replaceFile } from "./start/run-dir.ts";
import { pidsOf, type Running, stopAll } from "./start/running.ts";
import { setUp } from "./start/set-up.ts";
import { onStopSignal } from "./start/signals.ts";

// `npm start`: the whole system on this machine, from the servers to the front, until Ctrl-C.

interface Start {
	port: number;
	runDir: RunDir;
	running: Running;
	signal: AbortSignal;
}

async function main(): Promise<number> {
	const runDir = await openRunDir(process.env.ALARM_RUN_DIR);
	const port = wantedPort(process.env.PORT);
	const unlock = await takeLock(runDir.lock, `http://127.0.0.1:${port}`);
	const stop = new AbortController();
	onStopSignal(
		() => stop.abort(),
		() => void killHard(runDir).then(() => process.exit(130)),
	);
	const running: Running = { front: undefined, roles: new Map(), backends: new Map() };
	try {
		return await runUntilStopped({ port, runDir, running, signal: stop.signal });
	} finally {
		stop.abort();
		await stopAll(running, runDir);
		await unlock();
	}
}

async function runUntilStopped(start: Start): Promise<number> {
	const startedMs = Date.now();
	const crash = Promise.withResolvers<never>();
	process.on("uncaughtException", crash.reject); // our own mistake: stop the others properly all the same
	try {
		const ready = await Promise.race([startAll(start), crash.promise]);
		say(welcome(ready, start.runDir.root, Date.now() - startedMs));
		await Promise.race([aborted(start.signal), crash.promise]);
	} catch (error) {
		if (!start.signal.aborted) {
			complain(error);
			return 1;
		}
	}
	say("stopping …");
	return 0;
}

function wantedPort(text = ""): number {
	const port = Number(text || 3000);
	if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
	throw new Error(`PORT: "${text}" must be a whole number from 0 to 65535`);
}

async function startAll(start: Start): Promise<Ready> {
	const ports = await rolePorts();
	const edges = edgesAt(ports);
	start.running.front = await startFront(start.port, edges);
	const stopped = await stopLeftOvers(start.runDir);
	if (stopped > 0) say(`stopped ${stopped} process(es) that an earlier start has left behind`);
	const backendEnv = await startServers(start);
	const env = { ...process.env, ...backendEnv };
	say("setting up …");
	await setUp(env, start.runDir, start.signal);
	const { url } = start.running.front;
	const credentials = await readCredentials(start.runDir.credentials);
	const mongo = mongoAddresses(backendEnv);
	const control = await startControl(credentials.opsKey, growing(start, mongo));
	start.running.control = control;
	const { NATS_URL: nats = "", NATS_MONITOR_URLS: natsMonitor = "" } = backendEnv;
	const about = { url, control: control.url, edges, ...credentials, nats, natsMonitor, mongo };
	return await startRoles(start, ports, env, about);
}

async function rolePorts(): Promise<Record<RoleName, number>> {
	const [create, query, consume, mover] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
	return { create, query, consume, mover };
}

function edgesAt({ create, query, mover }: Record<RoleName, number>): Targets {
	const at = (port: number) => `http://127.0.0.1:${port}`;
	return { create: at(create), query: at(query), ops: at(mover) };
}

async function startServers(start: Start): Promise<BackendEnv> {
	say("starting the servers …");
	return await startBackends(process.env, backendOptions(start));
}

function backendOptions({ runDir, running, signal }: Start): BackendOptions {
	const onStart = (backend: Backend) => {
		running.backends.set(backend.name, backend);
		const tell = (how: string) =>
			signal.aborted || say(`${backend.name} (process ${backend.pid}) has ended: ${how}. The rest goes on without it.`);
		void backend.ended.then(tell);
	};
	return { runDir, say, signal, onStart };
}

/** Starts databases beside those of the beginning; one that is asked for again, also at the same time, is the same one. */
function growing(start: Start, mongo: Ready["mongo"]): Grow {
	const asked = new Map<string, Promise<string>>();
	const grow = async (name: string) => {
		mongo.clusters[name] ??= await startAnother(name, backendOptions(start));
		const ready = JSON.parse(readFileSync(start.runDir.ready, "utf8")) as Ready;
		replaceFile(start.runDir.ready, { ...ready, mongo, pids: pidsOf(start.running) });
		return mongo.clusters[name];
	};
	return async (name) => {
		if (process.env.MONGO_SERVICE_URIS)
			throw new Error("this npm start has not started the databases (MONGO_SERVICE_URIS): start another one yourself");
		const growth = asked.get(name) ?? grow(name);
		asked.set(name, growth);
		return await growth.finally(() => asked.delete(name));
	};
}

/** Starts the processes of all roles; from when all are up, ready.json follows their process ids. */
async function startRoles(
	{ runDir, running, signal }: Start,
	ports: Record<RoleName, number>,
	env: NodeJS.ProcessEnv,
	about: Omit<Ready, "pids">,
): Promise<Ready> {
	say("starting the services …");
	let allUp = false;
	const spawned = new Map<RoleName, number>();
	const ready = (): Ready => ({ ...about, pids: pidsOf(running) });
	const onSpawn = (role: RoleName, pid: number) => {
		spawned.set(role, pid);
		replaceFile(runDir.pids, Object.fromEntries(spawned));
		if (allUp) replaceFile(runDir.ready, ready());
	};
	const starts = ROLE_NAMES.map((role) => {
		const options = { role, port: ports[role], env, runDir, say, onSpawn: (pid: number) => onSpawn(role, pid) };
		const started = startRole(options);
		running.roles.set(role, started.running);
		return started.ready;
	});
	await Promise.race([Promise.all(starts), aborted(signal)]);
	signal.throwIfAborted();
	allUp = true;
	replaceFile(runDir.ready, ready());
	return ready();
}

function aborted(signal: AbortSignal): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	if (signal.aborted) resolve();
	else signal.addEventListener("abort", () => resolve());
	return promise;
}

function say(text: string): void {
	process.stdout.write(`${text}\n`);
}

function complain(error: unknown): void {
	process.stderr.write(`\n${error instanceof Error ? error.message : error}\n`);
}

try {
	process.exitCode = await main();
} catch (error) {
	complain(error);
	process.exitCode = 1;
}
process.exit();
