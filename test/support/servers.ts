import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Config, readConfig } from "../../config.ts";
import { findServer, type RunningMongod, type RunningNats, startMongod, startNats } from "../../ops/embedded/index.ts";

/** Real servers of a test's own, on free ports and in a temporary folder; gone with `stop`. */
export interface TestServers {
	dir: string;
	nats: RunningNats;
	mongods: Record<string, RunningMongod>;
	/** The environment that points at these servers. */
	env: Record<string, string>;
	stop(): Promise<void>;
}

const silent = () => undefined;
const RUN_DIR = resolve(".run");

/**
 * Clusters whose names begin with "a" are the archive; without any the first of the others is it, too. Those of `outside` run, and the
 * environment does not name them.
 */
export async function startServers(inside = ["c0", "c1"], outside: string[] = []): Promise<TestServers> {
	const names = [...inside, ...outside];
	const dir = await mkdtemp(join(tmpdir(), "alarm-test-"));
	const [natsBinary, mongodBinary] = await Promise.all([
		findServer("nats-server", { runDir: RUN_DIR, say: silent }),
		findServer("mongod", { runDir: RUN_DIR, say: silent }),
	]);
	const [nats, ...mongods] = await Promise.all([
		startNats({ binary: natsBinary, dir: join(dir, "nats"), say: silent }),
		...names.map((name) => startMongod({ binary: mongodBinary, dir: join(dir, name), name })),
	]);
	const byName = Object.fromEntries(names.map((name, at) => [name, mongods[at] as RunningMongod]));
	const stop = async () => {
		await Promise.all([nats.stop(), ...mongods.map((mongod) => mongod.stop())]);
		await rm(dir, { recursive: true, force: true });
	};
	return { dir, nats, mongods: byName, env: environmentOf(nats, byName, inside), stop };
}

function environmentOf(nats: RunningNats, mongods: Record<string, RunningMongod>, inside: string[]) {
	const addresses = inside.map((name) => `${name}=${mongods[name]?.uri}`);
	const archive = addresses.filter((one) => one.startsWith("a"));
	const service = addresses.filter((one) => !archive.includes(one));
	return {
		NATS_URL: nats.url,
		NATS_MONITOR_URLS: nats.monitorUrl,
		MONGO_SERVICE_URIS: service.join(";"),
		MONGO_ARCHIVE_URIS: archive.join(";") || (addresses[0] ?? "").replace(/^\w+=/, "a0="),
		PORT: "0",
		BIND_ADDRESS: "127.0.0.1",
		STREAM_MAX_BYTES: String(256 * 1024 * 1024),
		ACK_WAIT_SECONDS: "3",
		LOG_LEVEL: "fatal",
	};
}

export function configOf(servers: TestServers, more: Record<string, string> = {}): Config {
	return readConfig({ ...servers.env, ...more });
}
