import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import path from "node:path";

const PROGRAM = path.join(path.dirname(import.meta.dirname), "guardian.ts");

const guarded = new Set<number>();
let guardian: Socket | null = null;

/** The child ends when this process is gone, also after a kill -9 and when the child is frozen. Gives the child. */
export function guard<C extends ChildProcess>(child: C): C {
	const { pid } = child;
	if (pid === undefined) return child;
	guardian ??= startGuardian();
	guarded.add(pid);
	guardian.write(`start ${pid}\n`);
	child.once("exit", () => release(pid));
	return child;
}

/** A guardian without anybody to guard ends: jest loads this module again for each test file. */
function release(pid: number): void {
	guarded.delete(pid);
	guardian?.write(`end ${pid}\n`);
	if (guarded.size > 0) return;
	guardian?.end();
	guardian = null;
}

/** One for all children of this process. It keeps this process from nothing. */
function startGuardian(): Socket {
	// Without our environment, by which tests find processes that were left behind; in a group that a terminal's signals do not reach.
	const env = { PATH: process.env.PATH };
	const child = spawn(process.execPath, [PROGRAM], { env, detached: true, stdio: ["pipe", "ignore", "ignore"] });
	child.on("error", () => undefined);
	child.unref();
	const stdin = child.stdin as Socket;
	stdin.on("error", () => undefined);
	stdin.unref();
	return stdin;
}
