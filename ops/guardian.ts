import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { birthOf } from "./start/processes.ts";

/**
 * Ends the processes that it is told of when whoever told of them is gone: nobody else holds the other end of its stdin, so that
 * the system closes it, also after a kill -9. Lines are `start PID` and `end PID`.
 */

const GRACE_MS = 5_000;
const births = new Map<number, string>();

async function hear(line: string): Promise<void> {
	const [word, id] = line.split(" ");
	const pid = Number(id);
	const birth = word === "start" ? await birthOf(pid) : undefined;
	if (birth === undefined) births.delete(pid);
	else births.set(pid, birth);
}

async function endAll(): Promise<void> {
	// One that is frozen hears the SIGTERM only when it goes on.
	for (const signal of ["SIGTERM", "SIGCONT"] as const) await killLiving(signal);
	const deadlineMs = Date.now() + GRACE_MS;
	while ((await living()).length > 0 && Date.now() < deadlineMs) await pause(50);
	await killLiving("SIGKILL");
}

/** An id alone may be another process by now. */
async function living(): Promise<number[]> {
	const found = await Promise.all(
		[...births].map(async ([pid, birth]) => ((await birthOf(pid)) === birth ? [pid] : [])),
	);
	return found.flat();
}

/** By process and not by group: the group of a child may be that of whoever runs the tests. */
async function killLiving(signal: NodeJS.Signals): Promise<void> {
	for (const pid of await living()) {
		try {
			process.kill(pid, signal);
		} catch {
			// It has ended meanwhile.
		}
	}
}

// Whoever ends everything at once must not end the guardian first. It ends with its stdin.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
for await (const line of createInterface({ input: process.stdin })) await hear(line);
await endAll();
