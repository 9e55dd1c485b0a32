import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { guard } from "../ops/embedded/guard.ts";
import { endOf, once, stopChild } from "../ops/embedded/server-process.ts";

/** The processes of a run: each is a Node program of this project that says when it is ready, and may answer questions. */

export const ROOT = path.dirname(import.meta.dirname);
const READY_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 20_000;
const TICKS_PER_S = 100;

export interface Child {
	name: string;
	pid: number;
	/** Where it listens, as it said when it was ready; 0 if nowhere. */
	port: number;
	ask<R>(question: unknown): Promise<R>;
	stop(): Promise<void>;
}

export interface ChildOptions {
	env?: Record<string, string>;
	args?: string[];
	/** Options of Node itself. */
	nodeArgs?: string[];
}

interface Message {
	ready?: boolean;
	port?: number;
	id?: number;
	answer?: unknown;
	error?: string;
}

/** Starts `file` (from the root) and waits until it is ready. */
export async function startChild(name: string, file: string, options: ChildOptions = {}): Promise<Child> {
	const nodeArgs = ["--disable-warning=ExperimentalWarning", ...(options.nodeArgs ?? [])];
	const child = spawn(process.execPath, [...nodeArgs, file, ...(options.args ?? [])], {
		cwd: ROOT,
		env: options.env ?? {},
		// A group of its own: a terminal's Ctrl-C must not end it before its figures are thrown away in order.
		detached: true,
		stdio: ["ignore", "inherit", "inherit", "ipc"],
	});
	guard(child);
	const ended = endOf(child);
	const port = await readyPort(name, child, ended);
	const stop = once(() => stopChild(child, ended, STOP_LIMIT_MS));
	return { name, pid: child.pid ?? 0, port, ask: asker(name, child, ended), stop };
}

function readyPort(name: string, child: ChildProcess, ended: Promise<string>): Promise<number> {
	const { promise, resolve, reject } = Promise.withResolvers<number>();
	const fail = (why: string) => {
		child.kill("SIGKILL");
		reject(new Error(`${name} did not come up: ${why}`));
	};
	const timer = setTimeout(fail, READY_LIMIT_MS, `not ready after ${READY_LIMIT_MS / 1_000} s`);
	void ended.then(fail);
	child.on("message", ({ ready, port }: Message) => ready && resolve(port ?? 0));
	return promise.finally(() => clearTimeout(timer));
}

function asker(name: string, child: ChildProcess, ended: Promise<string>): Child["ask"] {
	const waiting = new Map<number, PromiseWithResolvers<unknown>>();
	let lastId = 0;
	child.on("message", ({ id = 0, answer, error }: Message) => {
		const one = waiting.get(id);
		waiting.delete(id);
		if (error === undefined) one?.resolve(answer);
		else one?.reject(new Error(`${name}: ${error}`));
	});
	void ended.then((how) => {
		for (const one of waiting.values()) one.reject(new Error(`${name} has ended: ${how}`));
	});
	return <R>(question: unknown) => {
		const id = ++lastId;
		const one = Promise.withResolvers<unknown>();
		waiting.set(id, one);
		child.send({ id, question });
		return one.promise as Promise<R>;
	};
}

/** CPU seconds that a process has used so far; NaN where there is no /proc. */
export function cpuSecondsOf(pid: number): number {
	try {
		const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
		const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
		return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
	} catch {
		return Number.NaN;
	}
}
