import { setTimeout as pause } from "node:timers/promises";
import type { Say } from "../embedded/chain.ts";
import { once, stopChild } from "../embedded/server-process.ts";
import { type LoggedChild, spawnLogged } from "./logged-child.ts";
import type { RunDir } from "./run-dir.ts";

/** Which services each process runs. */
export const ROLES = {
	create: "gateway,alarm.create",
	query: "gateway,alarm.query",
	consume: "alarm.consume",
	mover: "gateway,shard.router,archive.mover",
} as const;
export type RoleName = keyof typeof ROLES;
export const ROLE_NAMES = Object.keys(ROLES) as RoleName[];

const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 25_000;
const LONG_LIFE_MS = 60_000;

/** A role's process, started again whenever it dies. */
export interface RunningRole {
	pid(): number;
	stop(): Promise<void>;
}

interface RoleOptions {
	role: RoleName;
	port: number;
	env: NodeJS.ProcessEnv;
	runDir: RunDir;
	say: Say;
	/** A process was started, the first or another one. */
	onSpawn: (pid: number) => void;
}

/** Starts the process; `ready` settles when it is up, or has failed to come up. */
export function startRole(options: RoleOptions): { running: RunningRole; ready: Promise<void> } {
	const stopping = new AbortController();
	let current = launch(options);
	options.onSpawn(current.pid);
	const ready = untilReady(options.role, current);
	const watch = async () => {
		await ready.catch(() => stopping.abort()); // the first start's failure is the caller's, and final
		for (let failures = 0; ; ) {
			const bornMs = Date.now();
			const how = await current.ended;
			failures = Date.now() - bornMs > LONG_LIFE_MS ? 0 : failures + 1;
			const delayMs = restartDelayMs(failures);
			if (!stopping.signal.aborted) options.say(`${options.role} has ended (${how}); again in ${delayMs} ms`);
			await pause(delayMs, undefined, { signal: stopping.signal });
			current = launch(options);
			options.onSpawn(current.pid);
			untilReady(options.role, current).then(
				() => options.say(`${options.role} is back (process ${current.pid})`),
				(error: Error) => stopping.signal.aborted || options.say(error.message),
			);
		}
	};
	watch().catch(
		(error: Error) => stopping.signal.aborted || options.say(`${options.role} is given up: ${error.message}`),
	);
	const stop = once(async () => {
		stopping.abort();
		await stopChild(current.child, current.ended, STOP_LIMIT_MS);
	});
	return { running: { pid: () => current.pid, stop }, ready };
}

/** Grows while the process keeps dying young. */
export function restartDelayMs(failures: number): number {
	return Math.min(500 * 2 ** Math.max(0, failures - 1), 30_000);
}

function launch({ role, port, env, runDir }: RoleOptions): LoggedChild {
	const own = {
		SERVICES: ROLES[role],
		PORT: String(port),
		BIND_ADDRESS: "127.0.0.1",
		NODE_ID: `${role}-${process.pid}`,
		// One port for one process: the worker's, because every other role has a gateway that serves its metrics.
		METRICS_PORT: role === "consume" ? (env.METRICS_PORT ?? "0") : "0",
	};
	return spawnLogged(role, ["ops/serve.ts"], { ...env, ...own }, runDir);
}

function untilReady(role: RoleName, { child, ended, complaint, logFile }: LoggedChild): Promise<void> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	const fail = (why: string) =>
		reject(new Error([`${role} ${why}; its log is ${logFile}`, complaint()].join("\n").trim()));
	const timer = setTimeout(fail, READY_LIMIT_MS, `is not ready after ${READY_LIMIT_MS / 1000} s`);
	void ended.then((how) => fail(`did not start (${how})`));
	child.on("message", (message: { ready?: boolean } | null) => message?.ready && resolve());
	return promise.finally(() => clearTimeout(timer));
}
