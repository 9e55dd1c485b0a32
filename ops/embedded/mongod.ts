import path from "node:path";
import { isListening } from "./port.ts";
import { ensureReplicaSet } from "./replica-set.ts";
import { makeWritable, onSomePort, PortTaken, type ServerProcess, spawnServer, untilReady } from "./server-process.ts";

// After a change of port mongod asks its old one whether it is itself; a stranger there that does not answer costs half a minute.
const READY_LIMIT_MS = 90_000;
const EXIT_PORT_TAKEN = 48;

export interface MongodOptions {
	binary: string;
	/** Log and data; survives restarts. */
	dir: string;
	/** Of the replica set. */
	name: string;
	port?: number;
	cacheGb?: number;
	signal?: AbortSignal | undefined;
}

export interface RunningMongod {
	uri: string;
	pid: number;
	ended: Promise<string>;
	stop(): Promise<void>;
}

/** A mongod on 127.0.0.1, a replica set of one; it is primary and has taken a majority write when this resolves. */
export async function startMongod(options: MongodOptions): Promise<RunningMongod> {
	await makeWritable(path.join(options.dir, "data"));
	return await onSomePort(options.dir, options.port, (port) => startOn(port, options));
}

async function startOn(port: number, options: MongodOptions): Promise<RunningMongod> {
	const server = spawnServer(options.binary, flags(port, options), path.join(options.dir, "mongod.log"));
	try {
		const member = { host: `127.0.0.1:${port}`, name: options.name, pid: server.pid };
		// The driver would wait half a second after a refused connection.
		const ready = async () => ((await isListening(port)) ? await ensureReplicaSet(member) : undefined);
		await untilReady(server, ready, { limitMs: READY_LIMIT_MS, signal: options.signal });
	} catch (error) {
		await server.stop();
		throw explained(error, options.name, server);
	}
	const uri = `mongodb://127.0.0.1:${port}/?replicaSet=${options.name}`;
	return { uri, pid: server.pid, ended: server.ended, stop: server.stop };
}

function flags(port: number, { dir, name, cacheGb = 0.25 }: MongodOptions): string[] {
	const where = ["--dbpath", path.join(dir, "data"), "--bind_ip", "127.0.0.1", "--port", String(port)];
	const small = ["--wiredTigerCacheSizeGB", String(cacheGb), "--oplogSize", "64", "--nounixsocket"];
	// Alone in its replica set it has nobody to hand over to: do not wait for it when stopping.
	const stopAtOnce = ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"];
	return ["--replSet", name, ...where, ...small, ...stopAtOnce];
}

function explained(error: unknown, name: string, server: ServerProcess): Error {
	if (error instanceof DOMException) return error;
	const message = `mongod ${name} did not start: ${(error as Error).message}${reason(server.log())}`;
	return server.child.exitCode === EXIT_PORT_TAKEN ? new PortTaken(message) : new Error(message);
}

/** mongod's own words: the last fatal or error line of its JSON log, or its last line when it never came to log. */
function reason(log: string): string {
	const lines = log.trim().split("\n");
	const worst = lines.findLast((line) => /"s":"[EF]"/.test(line)) ?? lines.at(-1) ?? "";
	const { msg, attr } = parsed(worst);
	return `: ${msg === undefined ? worst : `${msg} ${JSON.stringify(attr ?? {})}`}`.slice(0, 600);
}

function parsed(line: string): { msg?: string; attr?: unknown } {
	try {
		return JSON.parse(line);
	} catch {
		return {};
	}
}
