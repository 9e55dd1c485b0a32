import { bool, type CleanedEnv, cleanEnv, makeValidator, str } from "envalid";
import { weakConcern } from "./domain/routing/cluster-address.ts";

/** The only reader of the environment. Everything is checked at once and all faults come in one report; nothing is guessed. */

export const SERVICE_NAMES = [
	"gateway",
	"alarm.create",
	"alarm.consume",
	"alarm.query",
	"shard.router",
	"archive.mover",
] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** One MongoDB cluster of the configuration: a short name that the routing map uses, and its address. */
export interface ClusterAddress {
	name: string;
	uri: string;
}

export interface Config {
	port: number;
	bindAddress: string;
	/** 0: none. */
	metricsPort: number;
	natsUrl: string;
	natsMonitorUrls: string[];
	serviceClusters: ClusterAddress[];
	archiveClusters: ClusterAddress[];
	metaUri: string;
	logicalShards: number;
	serviceDays: number;
	archiveDays: number;
	/** 0: only when it is asked. */
	archiveEveryMs: number;
	archiveRowsPerSecond: number;
	archiveMostDrops: number;
	archiveGraceMs: number;
	moveRowsPerSecond: number;
	shardMovesAtOnce: number;
	services: ServiceName[];
	streamMaxBytes: number;
	streamReplicas: number;
	outboxMaxBytes: number;
	workerPrefetch: number;
	ackWaitMs: number;
	redrivePerSecond: number;
	nodeId: string | undefined;
	logLevel: string;
	requestLog: boolean;
}

/** All that is wrong with the environment, one line each. */
export class ConfigFault extends Error {
	readonly faults: string[];
	constructor(faults: string[]) {
		super(`The configuration has ${faults.length} fault(s):\n${faults.map((fault) => `  - ${fault}`).join("\n")}`);
		this.name = "ConfigFault";
		this.faults = faults;
	}
}

const urlList = (scheme: RegExp, example: string) =>
	makeValidator<string[]>((text) => {
		const urls = text.split(",").map((part) => part.trim());
		const wrong = urls.find((url) => !URL.canParse(url) || !scheme.test(url) || new URL(url).hostname === "");
		if (wrong !== undefined) throw new Error(`"${withoutPassword(wrong)}" is not an address like ${example}`);
		return urls;
	});

const clusters = makeValidator<ClusterAddress[]>((text) => {
	const found = text
		.split(";")
		.map((part) => part.trim())
		.filter(Boolean)
		.map(clusterAddress);
	const names = found.map(({ name }) => name);
	const twice = names.find((name, index) => names.indexOf(name) !== index);
	if (twice !== undefined) throw new Error(`the cluster name "${twice}" stands twice`);
	if (found.length === 0) throw new Error("at least one cluster is needed");
	return found;
});

function clusterAddress(part: string): ClusterAddress {
	const [, name, uri] = /^([a-z][a-z0-9-]{0,15})=(mongodb(?:\+srv)?:\/\/\S+)$/.exec(part) ?? [];
	if (name === undefined || uri === undefined) {
		throw new Error(`"${withoutPassword(part)}" must look like c0=mongodb://host:port; separate clusters by ";"`);
	}
	refuseWeakConcern(name, uri);
	return { name, uri };
}

function refuseWeakConcern(name: string, uri: string): void {
	const weakness = weakConcern(uri);
	if (weakness !== null) throw new Error(`the address of ${name} says ${weakness}`);
}

const mongoUri = makeValidator<string>((text) => {
	if (!/^mongodb(\+srv)?:\/\/\S+$/.test(text)) throw new Error(`"${withoutPassword(text)}" must begin with mongodb://`);
	refuseWeakConcern("the meta database", text);
	return text;
});

const shardCount = makeValidator<number>((text) => {
	const count = Number(text);
	if (Number.isInteger(count) && count >= 1 && count <= 256 && (count & (count - 1)) === 0) return count;
	throw new Error(`"${text}" must be a power of two from 1 to 256`);
});

const wholeNumber = (least: number, most: number) =>
	makeValidator<number>((text) => {
		const value = Number(text);
		// Numbers of the code (defaults) arrive as numbers; of the environment, only plain digits count.
		if (/^\d+$/.test(String(text)) && value >= least && value <= most) return value;
		throw new Error(`"${text}" must be a whole number from ${least} to ${most}`);
	});

const services = makeValidator<ServiceName[]>((text) => {
	const names = text.split(",").map((name) => name.trim());
	const unknown = names.filter((name) => !(SERVICE_NAMES as readonly string[]).includes(name));
	if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(", ")}; there are ${SERVICE_NAMES.join(", ")}`);
	return [...new Set(names)] as ServiceName[];
});

/** Passwords of addresses never reach a log: all that could be one is left out, also where the address is written wrongly. */
export function withoutPassword(text: string): string {
	return text.replace(/^([a-z][a-z0-9-]*=)?.*@/s, "$1***@");
}

const MINUTE_MS = 60_000;

const SPEC = {
	PORT: wholeNumber(0, 65_535)({ default: 3000, desc: "port of the gateway" }),
	BIND_ADDRESS: str({ default: "0.0.0.0", desc: "address the gateway listens on" }),
	METRICS_PORT: wholeNumber(0, 65_535)({ default: 0, desc: "port of this process's metrics; 0 is off" }),
	NATS_URL: urlList(/^(nats|tls):\/\//, "nats://host:4222")({ desc: "nats://host:port, several by comma" }),
	NATS_MONITOR_URLS: urlList(
		/^https?:\/\//,
		"http://host:8222",
	)({
		desc: "http://host:8222 of every nats-server, to check that it syncs always",
	}),
	MONGO_SERVICE_URIS: clusters({ desc: "c0=mongodb://…;c1=mongodb://…" }),
	MONGO_ARCHIVE_URIS: clusters({ desc: "a0=mongodb://…" }),
	MONGO_META_URI: mongoUri({ default: "", desc: "the meta database; default: the first service cluster" }),
	LOGICAL_SHARDS: shardCount({ default: 16, desc: "fixed at the first set-up" }),
	SERVICE_DAYS: wholeNumber(1, 3_650)({ default: 90, desc: "days in the service tier" }),
	ARCHIVE_DAYS: wholeNumber(1, 3_650)({ default: 365, desc: "days until a month is dropped" }),
	ARCHIVE_EVERY_MINUTES: wholeNumber(0, 1_440)({ default: 60, desc: "how often the mover looks; 0: when asked" }),
	ARCHIVE_ROWS_PER_SECOND: wholeNumber(
		100,
		1_000_000,
	)({ default: 5_000, desc: "alarms that one mover reads per second" }),
	ARCHIVE_MOST_DROPS: wholeNumber(1, 120)({ default: 2, desc: "months dropped in one go without being confirmed" }),
	ARCHIVE_GRACE_HOURS: wholeNumber(
		0,
		720,
	)({ default: 24, desc: "how long the source of an archived month, or of a moved shard, is kept" }),
	MOVE_ROWS_PER_SECOND: wholeNumber(
		100,
		1_000_000,
	)({ default: 5_000, desc: "rows that the move of a shard reads per second" }),
	SHARD_MOVES_AT_ONCE: wholeNumber(1, 16)({ default: 2, desc: "shards that move at the same time" }),
	SERVICES: services({ default: [...SERVICE_NAMES], desc: "which services this process runs" }),
	STREAM_MAX_BYTES: wholeNumber(
		1024 ** 2,
		Number.MAX_SAFE_INTEGER,
	)({ default: 4 * 1024 ** 3, desc: "size of each lane's stream" }),
	STREAM_REPLICAS: wholeNumber(1, 5)({ default: 1, desc: "3 in production" }),
	OUTBOX_MAX_BYTES: wholeNumber(
		1024 ** 2,
		Number.MAX_SAFE_INTEGER,
	)({ default: 1024 ** 3, desc: "size of the outbox on each cluster" }),
	WORKER_PREFETCH: wholeNumber(1, 1_000)({ default: 64, desc: "batches a worker holds per lane" }),
	ACK_WAIT_SECONDS: wholeNumber(
		2,
		3_600,
	)({ default: 60, desc: "a batch whose worker is silent for so long comes again" }),
	REDRIVE_PER_SECOND: wholeNumber(1, 10_000)({ default: 200, desc: "failures that a process sends again per second" }),
	NODE_ID: str({ default: "", desc: "name of this node on the bus; default: made up" }),
	LOG_LEVEL: str({ choices: ["fatal", "error", "warn", "info", "debug", "trace"], default: "info" }),
	REQUEST_LOG: bool({ default: false, desc: "log each request (halves the rate)" }),
};

/** @throws {ConfigFault} with every fault of `env`. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
	const faults: string[] = [];
	const read = cleanEnv(env, SPEC, {
		reporter: ({ errors }) => {
			for (const [name, error] of Object.entries(errors)) faults.push(faultLine(name, error));
		},
	});
	faults.push(...faultsBetween({ ...read }));
	if (faults.length > 0) throw new ConfigFault(faults);
	const [first] = read.MONGO_SERVICE_URIS;
	return {
		port: read.PORT,
		bindAddress: read.BIND_ADDRESS,
		metricsPort: read.METRICS_PORT,
		natsUrl: read.NATS_URL.join(","),
		natsMonitorUrls: read.NATS_MONITOR_URLS,
		serviceClusters: read.MONGO_SERVICE_URIS,
		archiveClusters: read.MONGO_ARCHIVE_URIS,
		metaUri: read.MONGO_META_URI || (first?.uri ?? ""),
		logicalShards: read.LOGICAL_SHARDS,
		serviceDays: read.SERVICE_DAYS,
		archiveDays: read.ARCHIVE_DAYS,
		archiveEveryMs: read.ARCHIVE_EVERY_MINUTES * MINUTE_MS,
		archiveRowsPerSecond: read.ARCHIVE_ROWS_PER_SECOND,
		archiveMostDrops: read.ARCHIVE_MOST_DROPS,
		archiveGraceMs: read.ARCHIVE_GRACE_HOURS * 60 * MINUTE_MS,
		moveRowsPerSecond: read.MOVE_ROWS_PER_SECOND,
		shardMovesAtOnce: read.SHARD_MOVES_AT_ONCE,
		services: read.SERVICES,
		streamMaxBytes: read.STREAM_MAX_BYTES,
		streamReplicas: read.STREAM_REPLICAS,
		outboxMaxBytes: read.OUTBOX_MAX_BYTES,
		workerPrefetch: read.WORKER_PREFETCH,
		redrivePerSecond: read.REDRIVE_PER_SECOND,
		ackWaitMs: read.ACK_WAIT_SECONDS * 1_000,
		nodeId: read.NODE_ID || undefined,
		logLevel: read.LOG_LEVEL,
		requestLog: read.REQUEST_LOG,
	};
}

/** What is wrong only together. A variable that is wrong by itself is not in `read`, and compares as sound. */
function faultsBetween(read: Partial<CleanedEnv<typeof SPEC>>): string[] {
	const faults: string[] = [];
	if (Number(read.ARCHIVE_DAYS) <= Number(read.SERVICE_DAYS)) {
		faults.push(`ARCHIVE_DAYS (${read.ARCHIVE_DAYS}) must be more than SERVICE_DAYS (${read.SERVICE_DAYS})`);
	}
	const service = new Set(read.MONGO_SERVICE_URIS?.map(({ name }) => name));
	const twice = read.MONGO_ARCHIVE_URIS?.filter(({ name }) => service.has(name)) ?? [];
	for (const { name } of twice) faults.push(`MONGO_ARCHIVE_URIS: "${name}" is the name of a service cluster, too`);
	return faults;
}

function faultLine(name: string, error: Error): string {
	const spec = SPEC[name as keyof typeof SPEC] as { desc?: string };
	if (error.name === "EnvMissingError") return `${name} is missing: ${spec.desc ?? ""}`;
	return `${name}: ${error.message}`;
}
