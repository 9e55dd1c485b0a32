import { readFileSync } from "node:fs";
import { eventually } from "./eventually.ts";

/** Freezes a process, and returns when it stands still: the signal takes effect a moment after it is sent. */
export async function freeze(pid: number): Promise<void> {
	process.kill(pid, "SIGSTOP");
	await eventually(() => /\) T /.test(readFileSync(`/proc/${pid}/stat`, "utf8")), "the process frozen");
}

export function thaw(pid: number): void {
	process.kill(pid, "SIGCONT");
}
