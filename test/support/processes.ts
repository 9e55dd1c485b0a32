import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { guard } from "../../ops/embedded/guard.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { endOf } from "../../ops/embedded/server-process.ts";
import { eventually } from "./eventually.ts";
import { restClient } from "./rest.ts";
import type { TestServers } from "./servers.ts";

/** A process of its own with some services, as in production: `ops/serve.ts` and the environment. */
export interface ServiceProcess {
	nodeId: string;
	pid: number;
	/** Of its gateway, if it has one. */
	url: string;
	/** Resolves with how it ended: a signal, or "exit code 0". */
	ended: Promise<string>;
	/** All that it has written to stdout and stderr. */
	output(): string;
	/** Sends the signal and waits for the end. */
	end(signal: NodeJS.Signals): Promise<string>;
}

/** Resolves when the process is up and, if it has a gateway, ready. */
export async function startProcess(
	{ dir, env }: TestServers,
	nodeId: string,
	services: string,
	more: Record<string, string> = {},
): Promise<ServiceProcess> {
	const port = Number(more.PORT ?? (await freePort()));
	const own = { SERVICES: services, NODE_ID: nodeId, PORT: String(port), TEST_DIR: dir };
	const child = spawn(process.execPath, ["ops/serve.ts"], {
		env: { ...env, ...own, ...more },
		stdio: ["ignore", "pipe", "pipe", "ipc"],
	});
	guard(child);
	const ended = endOf(child);
	const url = `http://127.0.0.1:${port}`;
	const output = outputOf(child);
	await untilUp(child, nodeId, ended, output);
	if (services.includes("gateway")) await untilReady(url, nodeId);
	const end = (signal: NodeJS.Signals) => {
		child.kill(signal);
		return ended;
	};
	return { nodeId, pid: child.pid ?? 0, url, ended, output, end };
}

function outputOf(child: ChildProcess): () => string {
	let output = "";
	for (const stream of [child.stdout, child.stderr]) {
		stream?.on("data", (chunk: Buffer) => {
			output += chunk;
		});
	}
	return () => output;
}

function untilUp(child: ChildProcess, nodeId: string, ended: Promise<string>, output: () => string): Promise<void> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	child.on("message", () => resolve());
	void ended.then((how) => reject(new Error(`${nodeId} did not start (${how}): ${output()}`)));
	return promise;
}

async function untilReady(url: string, nodeId: string): Promise<void> {
	await eventually(async () => (await restClient(url)("GET", "/health/ready")).status === 200, `${nodeId} ready`);
}

/** Processes other than this one whose command line or environment names the folder. */
export function processesNaming(dir: string): string[] {
	const pids = readdirSync("/proc").filter((name) => Number(name) > 0 && Number(name) !== process.pid);
	return pids.filter((pid) => names(pid, dir)).map((pid) => `${pid} ${read(pid, "cmdline").replaceAll("\0", " ")}`);
}

function names(pid: string, dir: string): boolean {
	return ["cmdline", "environ"].some((file) => read(pid, file).includes(dir));
}

/** Empty for one that is gone, or somebody else's. */
function read(pid: string, file: string): string {
	try {
		return readFileSync(`/proc/${pid}/${file}`, "utf8");
	} catch {
		return "";
	}
}
