import { readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { output } from "../embedded/command.ts";
import type { RunDir } from "./run-dir.ts";

const STOP_LIMIT_MS = 20_000;

/** When this process was started, in whatever unit the system has; undefined when it is gone. Together with the id it names a process for good. */
export async function birthOf(pid: number): Promise<string | undefined> {
	const stat = read(`/proc/${pid}/stat`);
	if (stat !== undefined) {
		const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
		return state === "Z" || state === "X" ? undefined : fields[18];
	}
	return process.platform === "linux" ? undefined : await ps(pid, "lstart=");
}

/** Whether this process works on files of the run directory. A process id alone could be anybody's by now. */
export async function isOurs(pid: number, runDir: string): Promise<boolean> {
	const command = read(`/proc/${pid}/cmdline`) ?? (process.platform === "linux" ? "" : await ps(pid, "args="));
	return command?.includes(runDir + path.sep) ?? false;
}

/** Stops what an `npm start` that was killed has left behind; says how many there were. */
export async function stopLeftOvers({ root, pids }: RunDir): Promise<number> {
	const left = await oursAmong(recordedPids(root, pids), root);
	await endProcesses(() => oursAmong(left, root), STOP_LIMIT_MS);
	return left.length;
}

/** SIGTERM to all that `living` names, and SIGKILL to those that it still names after the limit. */
export async function endProcesses(living: () => Promise<number[]>, limitMs: number): Promise<void> {
	// One that is frozen hears the SIGTERM only when it goes on.
	for (const signal of ["SIGTERM", "SIGCONT"] as const) for (const pid of await living()) kill(pid, signal);
	const deadlineMs = Date.now() + limitMs;
	while ((await living()).length > 0 && Date.now() < deadlineMs) await pause(50);
	for (const pid of await living()) kill(pid, "SIGKILL");
}

/** SIGKILL, at once, to all that is still ours. */
export async function killHard({ root, pids, ready, lock }: RunDir): Promise<void> {
	await killLeftOvers(recordedPids(root, pids), root);
	for (const file of [ready, pids, lock]) rmSync(file, { force: true });
}

async function killLeftOvers(candidates: number[], root: string): Promise<void> {
	for (const pid of await oursAmong(candidates, root)) kill(pid, "SIGKILL");
}

async function oursAmong(pids: number[], root: string): Promise<number[]> {
	const ours = await Promise.all(pids.map((pid) => isOurs(pid, root)));
	return pids.filter((_pid, index) => ours[index]);
}

/** What we wrote down ourselves, and what the servers write down: a kill -9 can come between a start and our note. */
function recordedPids(root: string, pidsFile: string): number[] {
	const noted = Object.values(parsed(read(pidsFile)));
	const locks = folders(path.join(root, "mongo")).map((name) => path.join(root, "mongo", name, "data", "mongod.lock"));
	const written = [...locks, path.join(root, "nats", "nats.pid")].map((file) => Number(read(file)));
	return [...new Set([...noted, ...written])].filter((pid) => Number.isInteger(pid) && pid > 1 && pid !== process.pid);
}

function parsed(text: string | undefined): Record<string, number> {
	try {
		return JSON.parse(text ?? "{}");
	} catch {
		return {};
	}
}

function kill(pid: number, signal: NodeJS.Signals): void {
	try {
		process.kill(pid, signal);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
	}
}

async function ps(pid: number, column: string): Promise<string | undefined> {
	const line = await output("ps", ["-p", String(pid), "-o", column], { limitMs: 5_000 }).catch(() => "");
	return line.trim() || undefined;
}

function read(file: string): string | undefined {
	try {
		return readFileSync(file, "utf8");
	} catch {
		return undefined;
	}
}

function folders(dir: string): string[] {
	try {
		return readdirSync(dir);
	} catch {
		return [];
	}
}
