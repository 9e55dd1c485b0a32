import { randomUUID } from "node:crypto";
import { readFile, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Say } from "./chain.ts";
import { freePort } from "./port.ts";
import { makeWritable, onSomePort, PortTaken, spawnServer, untilReady } from "./server-process.ts";

const GIB = 1024 ** 3;
const READY_LIMIT_MS = 30_000;

export interface NatsOptions {
	binary: string;
	/** Configuration, log and streams; survives restarts. */
	dir: string;
	port?: number;
	monitorPort?: number;
	say?: Say;
	signal?: AbortSignal | undefined;
}

export interface RunningNats {
	url: string;
	monitorUrl: string;
	pid: number;
	/** What its streams may take together. */
	storeBytes: number;
	ended: Promise<string>;
	stop(): Promise<void>;
}

/** A nats-server with JetStream on 127.0.0.1 that syncs every message to disk; it has answered when this resolves. */
export async function startNats(options: NatsOptions): Promise<RunningNats> {
	await makeWritable(options.dir);
	return await onSomePort(options.dir, options.port, (port) => startOn(port, options));
}

async function startOn(port: number, options: NatsOptions): Promise<RunningNats> {
	const monitorPort = options.monitorPort ?? (await freePort());
	const configFile = path.join(options.dir, "nats.conf");
	const name = `embedded-${randomUUID()}`;
	const storeBytes = await storeBytesOf(options.dir);
	await writeFile(configFile, configText(name, options.dir, port, monitorPort, storeBytes));
	const server = spawnServer(options.binary, ["-c", configFile], path.join(options.dir, "nats.log"));
	const monitorUrl = `http://127.0.0.1:${monitorPort}`;
	try {
		const ready = () => answers(monitorUrl, name);
		await untilReady(server, ready, { limitMs: READY_LIMIT_MS, signal: options.signal });
	} catch (error) {
		await server.stop();
		throw explained(error, server.log());
	}
	options.say?.(`nats-server runs at 127.0.0.1:${port}`);
	const { pid, ended, stop } = server;
	return { url: `nats://127.0.0.1:${port}`, monitorUrl, pid, storeBytes, ended, stop };
}

function configText(name: string, dir: string, port: number, monitorPort: number, storeBytes: number): string {
	return `server_name: ${name}
listen: "127.0.0.1:${port}"
http: "127.0.0.1:${monitorPort}"
pid_file: ${JSON.stringify(path.join(dir, "nats.pid"))}
max_payload: 1MB
jetstream {
	store_dir: ${JSON.stringify(path.join(dir, "data"))}
	sync_interval: always
	max_file_store: ${storeBytes}
}
`;
}

/** Below the size of the disk, because a full disk gives no error reply, only timeouts. Chosen once: the streams have reserved it. */
async function storeBytesOf(dir: string): Promise<number> {
	const memory = path.join(dir, "store-bytes");
	const remembered = Number(await readFile(memory, "utf8").catch(() => ""));
	if (remembered > 0) return remembered;
	const { bavail, bsize } = await statfs(dir);
	const chosen = Math.min(10 * GIB, Math.floor((bavail * bsize) / 2));
	await writeFile(memory, String(chosen));
	return chosen;
}

/** Healthy and ours: on a port that we lost to somebody else another server may answer. It does not tell its process id, hence the name. */
async function answers(monitorUrl: string, name: string): Promise<true | undefined> {
	const health = await fetch(`${monitorUrl}/healthz`, { signal: AbortSignal.timeout(2_000) });
	await health.body?.cancel();
	if (!health.ok) return undefined;
	const varz = await fetch(`${monitorUrl}/varz`, { signal: AbortSignal.timeout(2_000) });
	const about: unknown = await varz.json();
	return typeof about === "object" && about !== null && "server_name" in about && about.server_name === name
		? true
		: undefined;
}

function explained(error: unknown, log: string): Error {
	if (error instanceof DOMException) return error;
	const fatal = /\[(?:FTL|ERR)\] (.+)/.exec(log)?.[1] ?? log.trim().split("\n").at(-1) ?? "";
	const message = `nats-server did not start: ${(error as Error).message}: ${fatal}`;
	return /address already in use/i.test(log) ? new PortTaken(message) : new Error(message);
}
