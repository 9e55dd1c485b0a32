import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { firstLine } from "./chain.ts";
import { guard } from "./guard.ts";
import { freePort, isFree } from "./port.ts";

const LOG_BYTES_MOST = 32 * 1024 * 1024;

/** A server that runs as a child in a process group of its own, so that a terminal's Ctrl-C does not reach it before us. */
export interface ServerProcess {
	pid: number;
	child: ChildProcess;
	/** Resolves with how it ended, however it ends. */
	ended: Promise<string>;
	/** What it has written since it was started. */
	log(): string;
	/** SIGTERM, then SIGKILL after a limit. Calling it twice does no harm. */
	stop(): Promise<void>;
}

/** The server came to an end before it was ready because somebody else has its port. */
export class PortTaken extends Error {}

/** Starts `binary` with its output in `logFile`. */
export function spawnServer(binary: string, args: string[], logFile: string, stopLimitMs = 20_000): ServerProcess {
	const from = sizeOf(logFile);
	const fresh = from > LOG_BYTES_MOST;
	const log = openSync(logFile, fresh ? "w" : "a");
	const child = guard(spawn(binary, args, { detached: true, stdio: ["ignore", log, log] }));
	closeSync(log);
	const ended = endOf(child);
	const stop = once(() => stopChild(child, ended, stopLimitMs));
	return { pid: child.pid ?? 0, child, ended, log: () => readFrom(logFile, fresh ? 0 : from), stop };
}

/** How a child ends; also when it could not be started at all. */
export function endOf(child: ChildProcess): Promise<string> {
	const { promise, resolve } = Promise.withResolvers<string>();
	child.on("error", (error) => resolve(error.message));
	child.on("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
	return promise;
}

/** SIGTERM, then SIGKILL when it has not ended within the limit. */
export async function stopChild(child: ChildProcess, ended: Promise<string>, limitMs: number): Promise<void> {
	if (child.pid === undefined) return;
	child.kill("SIGTERM");
	child.kill("SIGCONT"); // one that was paused hears the SIGTERM only now
	const timer = setTimeout(() => child.kill("SIGKILL"), limitMs);
	await ended;
	clearTimeout(timer);
}

/** The same promise for every caller. */
export function once<T>(work: () => Promise<T>): () => Promise<T> {
	let running: Promise<T> | undefined;
	return () => {
		running ??= work();
		return running;
	};
}

/** Waits until `ready` gives something; the process ending, the limit or the signal end the waiting with an error. */
export async function untilReady<T>(
	server: ServerProcess,
	ready: () => Promise<T | undefined>,
	{ limitMs, signal }: { limitMs: number; signal?: AbortSignal | undefined },
): Promise<T> {
	const deadlineMs = Date.now() + limitMs;
	let end: string | undefined;
	const gone = server.ended.then((how): undefined => {
		end = how;
	});
	let why = "no answer";
	while (end === undefined && Date.now() < deadlineMs && !signal?.aborted) {
		try {
			const answer = await Promise.race([ready(), gone]);
			if (answer !== undefined) return answer;
		} catch (error) {
			why = firstLine(error);
		}
		await new Promise((resolve) => setTimeout(resolve, 25));
	}
	signal?.throwIfAborted();
	throw new Error(end === undefined ? `not ready within ${limitMs / 1000} s: ${why}` : `ended at once (${end})`);
}

/** Starts on the demanded port, or else on the one of last time when it is free, or else on a free one; tries again when somebody is quicker. */
export async function onSomePort<T>(
	dir: string,
	demanded: number | undefined,
	start: (port: number) => Promise<T>,
): Promise<T> {
	const memory = path.join(dir, "port");
	for (let attempt = 1; ; attempt++) {
		const port = demanded ?? (attempt === 1 ? await rememberedPort(memory) : undefined) ?? (await freePort());
		try {
			const started = await start(port);
			await writeWhole(memory, String(port));
			return started;
		} catch (error) {
			if (!(error instanceof PortTaken) || demanded !== undefined || attempt === 5) throw error;
		}
	}
}

async function rememberedPort(file: string): Promise<number | undefined> {
	const port = Number(await readFile(file, "utf8").catch(() => ""));
	return port > 0 && (await isFree(port)) ? port : undefined;
}

/** A reader sees the old content or the new one, never a part. */
async function writeWhole(file: string, content: string, mode = 0o644): Promise<void> {
	const half = `${file}.${process.pid}.half`;
	await writeFile(half, content, { mode });
	await rename(half, file);
}

/** @throws one clear line when the folder cannot be made or written to. */
export async function makeWritable(dir: string): Promise<void> {
	try {
		await makeDir(dir);
		await writeWhole(path.join(dir, ".writable"), "");
	} catch (error) {
		throw new Error(`Cannot write to ${dir}: ${firstLine(error)}`);
	}
}

/** Not mkdir's `recursive`: Node never comes back from it where a file system answers ENOENT for good, as /proc does. */
async function makeDir(dir: string): Promise<void> {
	const parent = path.dirname(dir);
	if (!existsSync(parent)) await makeDir(parent);
	if (!existsSync(dir)) await mkdir(dir).catch(unlessThere);
}

function unlessThere(error: NodeJS.ErrnoException): void {
	if (error.code !== "EEXIST") throw error;
}

function sizeOf(file: string): number {
	return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function readFrom(file: string, from: number): string {
	const bytes = Buffer.alloc(Math.max(0, Math.min(sizeOf(file) - from, 256 * 1024)));
	const handle = openSync(file, "r");
	readSync(handle, bytes, 0, bytes.length, from);
	closeSync(handle);
	return bytes.toString();
}
