import { createInterface } from "node:readline";
import { birthOf, endProcesses } from "./start/processes.ts";

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

/** An id alone may be another process by now. */
async function living(): Promise<number[]> {
	const found = await Promise.all(
		[...births].map(async ([pid, birth]) => ((await birthOf(pid)) === birth ? [pid] : [])),
	);
	return found.flat();
}

// Whoever ends everything at once must not end the guardian first. It ends with its stdin.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
for await (const line of createInterface({ input: process.stdin })) await hear(line);
// By process and not by group: the group of a child may be that of whoever runs the tests.
await endProcesses(living, GRACE_MS);
