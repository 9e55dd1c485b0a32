import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, createWriteStream, openSync, statSync } from "node:fs";
import path from "node:path";
import { guard } from "../embedded/guard.ts";
import { endOf } from "../embedded/server-process.ts";
import { ROOT, type RunDir } from "./run-dir.ts";

const LOG_BYTES_MOST = 32 * 1024 * 1024;
const COMPLAINT_CHARS_MOST = 4_000;

/** A Node program of this project in a process group of its own, with its output in a log file. */
export interface LoggedChild {
	child: ChildProcess;
	pid: number;
	ended: Promise<string>;
	logFile: string;
	/** The last it wrote to stderr. */
	complaint(): string;
}

export function spawnLogged(name: string, args: string[], env: NodeJS.ProcessEnv, runDir: RunDir): LoggedChild {
	const logFile = path.join(runDir.logs, `${name}.log`);
	const log = openSync(logFile, sizeOf(logFile) > LOG_BYTES_MOST ? "w" : "a");
	// The option puts the run directory into the command line, by which the next start recognises what was left behind.
	const options = [...process.execArgv, `--diagnostic-dir=${runDir.logs}${path.sep}`];
	const stdio = ["ignore", log, "pipe", "ipc"] satisfies ["ignore", number, "pipe", "ipc"];
	const child = guard(spawn(process.execPath, [...options, ...args], { cwd: ROOT, env, detached: true, stdio }));
	closeSync(log);
	let complaint = "";
	child.stderr?.on("data", (chunk: Buffer) => {
		complaint = (complaint + chunk).slice(-COMPLAINT_CHARS_MOST);
	});
	child.stderr?.pipe(createWriteStream(logFile, { flags: "a" }));
	return { child, pid: child.pid ?? 0, ended: endOf(child), logFile, complaint: () => complaint.trim() };
}

function sizeOf(file: string): number {
	return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
