import { stopChild } from "../embedded/server-process.ts";
import { spawnLogged } from "./logged-child.ts";
import type { RunDir } from "./run-dir.ts";

const LIMIT_MS = 120_000;

/** Streams, collections, indexes and the first keys; harmless when all is there. */
export async function setUp(env: NodeJS.ProcessEnv, runDir: RunDir, signal: AbortSignal): Promise<void> {
	signal.throwIfAborted();
	const args = ["ops/setup.ts", "--credentials", runDir.credentials];
	const { child, ended, complaint, logFile } = spawnLogged("setup", args, env, runDir);
	const stop = () => void stopChild(child, ended, 2_000);
	const timer = setTimeout(stop, LIMIT_MS);
	signal.addEventListener("abort", stop);
	const how = await ended;
	clearTimeout(timer);
	signal.removeEventListener("abort", stop);
	signal.throwIfAborted();
	if (how !== "exit code 0") throw new Error(`The set-up failed (${how}):\n${complaint() || `see ${logFile}`}`);
}
