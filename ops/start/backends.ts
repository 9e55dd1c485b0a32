import path from "node:path";
import type { Say } from "../embedded/chain.ts";
import { findServer, startMongod, startNats } from "../embedded/index.ts";
import { grownNames, keepGrown } from "./added-databases.ts";
import { CACHE_DIR, type RunDir } from "./run-dir.ts";

/** A server that `npm start` has started. */
export interface Backend {
	name: string;
	pid: number;
	ended: Promise<string>;
	stop(): Promise<void>;
}

/** How the services reach the servers. */
export interface BackendEnv {
	NATS_URL?: string | undefined;
	NATS_MONITOR_URLS?: string | undefined;
	STREAM_MAX_BYTES?: string | undefined;
	MONGO_SERVICE_URIS: string;
	MONGO_ARCHIVE_URIS: string;
}

export interface BackendOptions {
	runDir: RunDir;
	say: Say;
	signal: AbortSignal;
	/** Told of each server as soon as it runs, so that it can be stopped whatever happens to the others. */
	onStart: (backend: Backend) => void;
}

/** Uses the servers that the environment names and starts the others. */
export async function startBackends(given: NodeJS.ProcessEnv, options: BackendOptions): Promise<BackendEnv> {
	const { NATS_URL, NATS_MONITOR_URLS, MONGO_SERVICE_URIS = "", MONGO_ARCHIVE_URIS = "" } = given;
	const [nats, service, archive] = await allOrFirstFault([
		NATS_URL || NATS_MONITOR_URLS ? { NATS_URL, NATS_MONITOR_URLS } : embeddedNats(options),
		MONGO_SERVICE_URIS || embeddedMongods(["c0", "c1", ...grownNames(options.runDir)], options),
		MONGO_ARCHIVE_URIS || embeddedMongods(["a0"], options),
	]);
	return { ...nats, MONGO_SERVICE_URIS: service, MONGO_ARCHIVE_URIS: archive };
}

/** Like Promise.all, but waits for the others: what they have started must be known before it can be stopped. */
async function allOrFirstFault<T extends readonly unknown[]>(
	work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
	await Promise.allSettled(work);
	return await Promise.all(work);
}

/** Of the store, for each of the two lanes. */
const LANE_SHARE = 0.4;

async function embeddedNats(
	options: BackendOptions,
): Promise<Omit<BackendEnv, "MONGO_SERVICE_URIS" | "MONGO_ARCHIVE_URIS">> {
	const { say, signal, runDir, onStart } = options;
	const binary = await findServer("nats-server", { runDir: CACHE_DIR, say, signal });
	const nats = await startNats({ binary, dir: path.join(runDir.root, "nats"), signal });
	onStart({ name: "nats", ...nats });
	const laneBytes = process.env.STREAM_MAX_BYTES || String(Math.floor(nats.storeBytes * LANE_SHARE));
	return { NATS_URL: nats.url, NATS_MONITOR_URLS: nats.monitorUrl, STREAM_MAX_BYTES: laneBytes };
}

async function embeddedMongods(names: string[], options: BackendOptions): Promise<string> {
	const binary = await mongodBinary(options);
	const uris = await allOrFirstFault(names.map((name) => embeddedMongod(binary, name, options)));
	return names.map((name, index) => `${name}=${uris[index]}`).join(";");
}

/** Another database, while the others run; started again by the next start. Tells its address. */
export async function startAnother(name: string, options: BackendOptions): Promise<string> {
	keepGrown(options.runDir, name);
	return await embeddedMongod(await mongodBinary(options), name, options);
}

async function embeddedMongod(
	binary: string,
	name: string,
	{ runDir, signal, onStart }: BackendOptions,
): Promise<string> {
	const mongod = await startMongod({ binary, name, dir: path.join(runDir.root, "mongo", name), signal });
	onStart({ name, ...mongod });
	return mongod.uri;
}

let foundMongod: Promise<string> | undefined;

/** Looked for once, though two clusters ask. */
function mongodBinary({ say, signal }: BackendOptions): Promise<string> {
	foundMongod ??= findServer("mongod", { runDir: CACHE_DIR, say, signal });
	return foundMongod;
}
