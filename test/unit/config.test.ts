import { ConfigFault, readConfig, SERVICE_NAMES, withoutPassword } from "../../config.ts";

const ENV = {
	NATS_URL: "nats://127.0.0.1:4222",
	NATS_MONITOR_URLS: "http://127.0.0.1:8222",
	MONGO_SERVICE_URIS: "c0=mongodb://h0:1/?replicaSet=r;c1=mongodb://h1:1",
	MONGO_ARCHIVE_URIS: "a0=mongodb://h2:1",
};
const read = (own: Record<string, string> = {}) => readConfig({ ...ENV, ...own });

function faultsOf(env: Record<string, string>): string[] {
	try {
		readConfig(env);
	} catch (error) {
		if (error instanceof ConfigFault) return error.faults;
		throw error;
	}
	return [];
}
const faults = (own: Record<string, string>) => faultsOf({ ...ENV, ...own });

describe("an environment with what is needed", () => {
	test("is enough; everything else has its default", () => {
		expect(read()).toEqual({
			port: 3_000,
			bindAddress: "0.0.0.0",
			natsUrl: "nats://127.0.0.1:4222",
			natsMonitorUrls: ["http://127.0.0.1:8222"],
			serviceClusters: [
				{ name: "c0", uri: "mongodb://h0:1/?replicaSet=r" },
				{ name: "c1", uri: "mongodb://h1:1" },
			],
			archiveClusters: [{ name: "a0", uri: "mongodb://h2:1" }],
			metaUri: "mongodb://h0:1/?replicaSet=r",
			metricsPort: 0,
			logicalShards: 16,
			serviceDays: 90,
			archiveDays: 365,
			archiveEveryMs: 3_600_000,
			archiveRowsPerSecond: 5_000,
			archiveMostDrops: 2,
			archiveGraceMs: 86_400_000,
			moveRowsPerSecond: 5_000,
			shardMovesAtOnce: 2,
			services: [...SERVICE_NAMES],
			streamMaxBytes: 4 * 1024 ** 3,
			streamReplicas: 1,
			outboxMaxBytes: 1024 ** 3,
			workerPrefetch: 64,
			ackWaitMs: 60_000,
			redrivePerSecond: 200,
			nodeId: undefined,
			logLevel: "info",
			requestLog: false,
		});
	});

	test("may hold variables of others", () => {
		expect(() => read({ HOME: "/root", NODE_ENV: "production" })).not.toThrow();
	});

	test("behaves the same under every NODE_ENV", () => {
		expect(read({ NODE_ENV: "production" })).toEqual(read({ NODE_ENV: "development" }));
	});
});

describe("a value", () => {
	test("of the environment wins over the default", () => {
		const config = read({ PORT: "0", LOGICAL_SHARDS: "64", ACK_WAIT_SECONDS: "3", NODE_ID: "n1", REQUEST_LOG: "true" });
		expect(config).toMatchObject({ port: 0, logicalShards: 64, ackWaitMs: 3_000, nodeId: "n1", requestLog: true });
	});

	test("may be a list of addresses of NATS", () => {
		const config = read({ NATS_URL: "nats://a:1, tls://b:2", NATS_MONITOR_URLS: "http://a:1,https://b:2" });
		expect(config.natsUrl).toBe("nats://a:1,tls://b:2");
		expect(config.natsMonitorUrls).toEqual(["http://a:1", "https://b:2"]);
	});

	test("may hold commas inside the address of one cluster, and a last semicolon", () => {
		const { serviceClusters } = read({
			MONGO_SERVICE_URIS: "c0=mongodb://a:1,b:1,c:1/?replicaSet=r ; c1=mongodb+srv://x;",
		});
		expect(serviceClusters).toEqual([
			{ name: "c0", uri: "mongodb://a:1,b:1,c:1/?replicaSet=r" },
			{ name: "c1", uri: "mongodb+srv://x" },
		]);
	});

	test("may put the meta database elsewhere", () => {
		expect(read({ MONGO_META_URI: "mongodb://meta:1" }).metaUri).toBe("mongodb://meta:1");
	});

	test("may name some services, each once", () => {
		expect(read({ SERVICES: "gateway, alarm.create,gateway" }).services).toEqual(["gateway", "alarm.create"]);
	});
});

describe("what is missing", () => {
	test("comes in one report, each with what it is for", () => {
		expect(faultsOf({})).toEqual([
			"NATS_URL is missing: nats://host:port, several by comma",
			"NATS_MONITOR_URLS is missing: http://host:8222 of every nats-server, to check that it syncs always",
			"MONGO_SERVICE_URIS is missing: c0=mongodb://…;c1=mongodb://…",
			"MONGO_ARCHIVE_URIS is missing: a0=mongodb://…",
		]);
	});

	test("comes together with what is wrong", () => {
		const { NATS_URL: _, ...rest } = ENV;
		const found = faultsOf({ ...rest, PORT: "x", LOGICAL_SHARDS: "3", SERVICES: "gatewya", LOG_LEVEL: "loud" });
		expect(found.map((fault) => fault.split(/[ :]/)[0]).sort()).toEqual([
			"LOGICAL_SHARDS",
			"LOG_LEVEL",
			"NATS_URL",
			"PORT",
			"SERVICES",
		]);
	});

	test("is told in the message of the error, a line each", () => {
		expect(() => readConfig({})).toThrow(/4 fault\(s\):\n {2}- NATS_URL is missing/);
	});
});

describe("a wrong value", () => {
	test.each([
		["PORT", "65536"],
		["PORT", "-1"],
		["PORT", "80.5"],
		["PORT", ""],
		["PORT", " "],
		["LOGICAL_SHARDS", "0"],
		["LOGICAL_SHARDS", "12"],
		["LOGICAL_SHARDS", "512"],
		["LOGICAL_SHARDS", "1.5"],
		["SERVICE_DAYS", "0"],
		["ARCHIVE_DAYS", "x"],
		["ARCHIVE_EVERY_MINUTES", "1441"],
		["ARCHIVE_ROWS_PER_SECOND", "99"],
		["ARCHIVE_MOST_DROPS", "0"],
		["ARCHIVE_GRACE_HOURS", "-1"],
		["MOVE_ROWS_PER_SECOND", "99"],
		["SHARD_MOVES_AT_ONCE", "0"],
		["STREAM_REPLICAS", "6"],
		["STREAM_MAX_BYTES", "much"],
		["WORKER_PREFETCH", "0"],
		["ACK_WAIT_SECONDS", "1"],
		["SERVICES", "gateway,nothing"],
		["SERVICES", ""],
		["LOG_LEVEL", "loud"],
		["REQUEST_LOG", "maybe"],
		["NATS_URL", "http://h:4222"],
		["NATS_URL", "nats://h:4222,h:4223"],
		["NATS_URL", ""],
		["NATS_MONITOR_URLS", "nats://h:8222"],
		["MONGO_META_URI", "http://h"],
		["MONGO_SERVICE_URIS", "mongodb://h"],
		["MONGO_SERVICE_URIS", "C0=mongodb://h"],
		["MONGO_SERVICE_URIS", "c0=mongodb://h;c0=mongodb://i"],
		["MONGO_SERVICE_URIS", " ; "],
		["MONGO_ARCHIVE_URIS", "a0=http://h"],
	])("of %s, %j, is the one fault and is named", (name, value) => {
		const found = faults({ [name]: value });
		expect(found).toHaveLength(1);
		expect(found[0]).toMatch(new RegExp(`^${name}: `));
	});

	test.each([1, 2, 4, 8, 16, 32, 64, 128, 256])("is not LOGICAL_SHARDS=%i", (count) => {
		expect(read({ LOGICAL_SHARDS: String(count) }).logicalShards).toBe(count);
	});

	test("that is an unknown service is answered with those there are", () => {
		expect(faults({ SERVICES: "gatewya" })[0]).toBe(
			"SERVICES: unknown: gatewya; there are gateway, alarm.create, alarm.consume, alarm.query, shard.router, archive.mover",
		);
	});

	test.each([
		["MONGO_SERVICE_URIS", "c0=mongodb://h0:1/?replicaSet=r&w=1", "the address of c0 says w=1; it must be w=majority"],
		["MONGO_ARCHIVE_URIS", "a0=mongodb://h0:1/?journal=false", "the address of a0 says journal=false"],
		["MONGO_META_URI", "mongodb://h0:1/?w=0", "the address of the meta database says w=0"],
	])("is a %s that asks for less than majority and journal: %s", (name, value, told) => {
		expect(faults({ [name]: value })).toEqual([expect.stringContaining(told)]);
		expect(faults({ [name]: value.replace(/w=\d/, "w=majority").replace("false", "true") })).toEqual([]);
	});

	test("that is a number says its bounds", () => {
		expect(faults({ PORT: "x" })).toEqual(['PORT: "x" must be a whole number from 0 to 65535']);
	});
});

describe("the days of the archive", () => {
	test("must be more than those of the service tier", () => {
		expect(faults({ SERVICE_DAYS: "90", ARCHIVE_DAYS: "90" })).toEqual([
			"ARCHIVE_DAYS (90) must be more than SERVICE_DAYS (90)",
		]);
		expect(faults({ SERVICE_DAYS: "90", ARCHIVE_DAYS: "91" })).toEqual([]);
	});
});

describe("a password", () => {
	test.each([
		["MONGO_SERVICE_URIS", "C0=mongodb://alarm:s3cret@h0:1"],
		["MONGO_SERVICE_URIS", "c0=http://alarm:s3cret@h0:1"],
		["MONGO_SERVICE_URIS", "c0=mongodb://a:s3cret@h;c0=mongodb://b:s3cret@i"],
		["MONGO_ARCHIVE_URIS", "mongodb://alarm:s3cret@h0:1"],
		["MONGO_META_URI", "mongo://alarm:s3cret@h0:1"],
		["MONGO_META_URI", "http://u:s3cret/x@h"],
		["MONGO_META_URI", "mongodb:/u:s3cret@h"],
		["MONGO_SERVICE_URIS", "c0=u:s3cret@h"],
		["MONGO_SERVICE_URIS", "c0:mongodb://u:x@s3cret@h"],
		["NATS_URL", "http://u:s3cret@h"],
	])("in a wrong %s is not shown: %s", (name, value) => {
		const found = faults({ [name]: value });
		expect(found).toHaveLength(1);
		expect(found[0]).not.toContain("s3cret");
	});

	test("is taken out of an address, and its name and host stay", () => {
		expect(withoutPassword("c0=mongodb://alarm:s3cret@h0:1/?x=1")).toBe("c0=***@h0:1/?x=1");
	});

	test("that is not there changes nothing", () => {
		expect(withoutPassword("mongodb://h0:1/db")).toBe("mongodb://h0:1/db");
	});
});

test("what is wrong only together stands in the same report", () => {
	const found = faults({ PORT: "x", ARCHIVE_DAYS: "10", MONGO_ARCHIVE_URIS: "c1=mongodb://h2:1" });
	expect(found).toHaveLength(3);
	expect(found.join()).toContain("ARCHIVE_DAYS (10) must be more than SERVICE_DAYS (90)");
	expect(found.join()).toContain('"c1" is the name of a service cluster, too');
});

test.each([
	["STREAM_MAX_BYTES", "4GB"],
	["STREAM_MAX_BYTES", "-1"],
	["PORT", "0x10"],
	["PORT", "1e3"],
	["NATS_URL", "nats://"],
])("%s=%s is no value", (name, value) => {
	expect(faults({ [name]: value })).toHaveLength(1);
});
