import { readFile } from "node:fs/promises";
import path from "node:path";
import { connect, type JetStreamManager, type NatsConnection } from "nats";
import { type Config, readConfig } from "../config.ts";
import { LANES } from "../contracts/alarm.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import { addMonths, type Month, monthOf, monthStartMs } from "../domain/time/periods.ts";
import type { LocalCredentials } from "../ops/credentials.ts";
import { findServer, type RunningMongod, type RunningNats, startNats } from "../ops/embedded/index.ts";
import { freePort } from "../ops/embedded/port.ts";
import { ROLES, type RoleName } from "../ops/start/roles.ts";
import { setUp } from "../ops/system.ts";
import { Clusters } from "../stores/mongo/clusters.ts";
import { ensureCollections, ensureMap, MAP_ID } from "../stores/routing/provision.ts";
import { loadDocument } from "../stores/routing/versioned-documents.ts";
import { streamOf } from "../streams/lanes.ts";
import { type Child, type ChildOptions, startChild } from "./child.ts";
import { type Ends, startMongods, temporaryFolder, whereToFind, withEnds } from "./servers.ts";

/** Real servers of a run's own in a temporary folder, set up as `npm start` does, and the processes beside them. */

const CLUSTERS = 2;
const ARCHIVE = "a0";

export interface LabOptions {
	/** Service clusters, c0 and so on; two unless said. */
	clusters?: number;
	/** An archive cluster of its own; without it, its address only has to be there. */
	archive?: boolean;
	/** Logical shards; 16 unless said. */
	shards?: number;
	/** So many months ago it was first set up: it has all months since. */
	monthsBack?: number;
}

export interface Lab {
	dir: string;
	nats: RunningNats;
	mongods: RunningMongod[];
	jetstream: JetStreamManager;
	connection: NatsConnection;
	keys: LocalCredentials;
	config: Config;
	/** What a process of the service is told. */
	env: Record<string, string>;
	/** Collection of alarms of each shard in this month: where raw baselines put and find the same documents. */
	map: RoutingMap;
	/** A process of the service, started as `npm start` does. */
	startRole(role: RoleName, nodeArgs?: string[]): Promise<Child>;
	/** One more database server; nobody but its caller knows of it. */
	startMongod(name: string): Promise<RunningMongod>;
	/** A process of the bench itself. */
	start(file: string, options?: ChildOptions): Promise<Child>;
	/** Empties the lanes, so that disks do not fill. */
	purge(): Promise<void>;
}

/** Lends a lab to `work`, and ends everything afterwards, whatever happened. */
export async function withLab<R>(
	signal: AbortSignal,
	work: (lab: Lab) => Promise<R>,
	options: LabOptions = {},
): Promise<R> {
	return withEnds(signal, (ends) => openLab(signal, ends, options), work);
}

/** Several at once, so that what is measured in them can be measured in turns. */
export async function withLabs<R>(
	signal: AbortSignal,
	options: LabOptions[],
	work: (labs: Lab[]) => Promise<R>,
): Promise<R> {
	const open = async (ends: Ends) => {
		const labs: Lab[] = [];
		for (const one of options) labs.push(await openLab(signal, ends, one));
		return labs;
	};
	return withEnds(signal, open, work);
}

async function openLab(signal: AbortSignal, ends: Ends, options: LabOptions): Promise<Lab> {
	const { clusters = CLUSTERS, archive = false, shards = 16, monthsBack = 0 } = options;
	const dir = await temporaryFolder("alarm-bench-", ends);
	const nats = await startQueue(dir, signal, ends);
	const names = Array.from({ length: clusters }, (_, at) => `c${at}`);
	const mongods = await startMongods(archive ? [...names, ARCHIVE] : names, dir, signal, ends);
	const env = { ...environmentOf(nats, names, mongods), LOGICAL_SHARDS: String(shards) };
	const config = readConfig(env);
	const file = path.join(dir, "credentials.json");
	if (monthsBack > 0) await beginMap(config, addMonths(monthOf(Date.now()), -monthsBack));
	await setUp(config, file);
	const connection = await connect({ servers: nats.url });
	ends.push(() => connection.close());
	const jetstream = await connection.jetstreamManager();
	const lend = async (starting: Promise<Child>) => {
		const child = await starting;
		ends.push(() => child.stop());
		return child;
	};
	// Ended behind the processes that will use them.
	const later: Promise<RunningMongod>[] = [];
	ends.push(() => stopAll(later));
	return {
		dir,
		nats,
		mongods,
		jetstream,
		connection,
		config,
		env,
		keys: JSON.parse(await readFile(file, "utf8")) as LocalCredentials,
		map: await readMap(config),
		startRole: (role, nodeArgs = []) => lend(startRole(role, env, nodeArgs)),
		startMongod: (name) => {
			const starting = startMongods([name], dir, signal, []).then(([mongod]) => mongod as RunningMongod);
			later.push(starting);
			return starting;
		},
		start: (program, options) => lend(startChild(program, `bench/${program}.ts`, options)),
		purge: async () => {
			for (const lane of LANES) await jetstream.streams.purge(streamOf(lane));
		},
	};
}

/** Also those that are still on their way up. */
async function stopAll(starting: Promise<RunningMongod>[]): Promise<void> {
	for (const one of await Promise.allSettled(starting)) if (one.status === "fulfilled") await one.value.stop();
}

async function startQueue(dir: string, signal: AbortSignal, ends: Ends): Promise<RunningNats> {
	const binary = await findServer("nats-server", whereToFind(signal));
	const nats = await startNats({ binary, dir: path.join(dir, "nats"), signal });
	ends.push(() => nats.stop());
	return nats;
}

function environmentOf(nats: RunningNats, names: string[], mongods: RunningMongod[]): Record<string, string> {
	const addresses = names.map((name, at) => `${name}=${mongods[at]?.uri}`);
	const archive = mongods[names.length] ?? mongods[0];
	return {
		NATS_URL: nats.url,
		NATS_MONITOR_URLS: nats.monitorUrl,
		MONGO_SERVICE_URIS: addresses.join(";"),
		MONGO_ARCHIVE_URIS: `${ARCHIVE}=${archive?.uri}`,
		BIND_ADDRESS: "127.0.0.1",
		LOG_LEVEL: "error",
	};
}

/** A month is made up for only when the system was there at the time. */
async function beginMap(config: Config, month: Month): Promise<void> {
	const clusters = new Clusters(config);
	const since = new Date(monthStartMs(month));
	try {
		await ensureCollections(clusters, await ensureMap(clusters, config.logicalShards, since), since);
	} finally {
		await clusters.close();
	}
}

async function readMap(config: Config): Promise<RoutingMap> {
	const clusters = new Clusters(config);
	try {
		const map = await loadDocument<RoutingMap>(clusters, MAP_ID);
		if (map === null) throw new Error("the set-up has left no routing map");
		return map;
	} finally {
		await clusters.close();
	}
}

async function startRole(role: RoleName, env: Record<string, string>, nodeArgs: string[]): Promise<Child> {
	const port = await freePort();
	const own = { SERVICES: ROLES[role], PORT: String(port), NODE_ID: `${role}-${port}` };
	const child = await startChild(role, "ops/serve.ts", { env: { ...env, ...own }, nodeArgs });
	return { ...child, port };
}
