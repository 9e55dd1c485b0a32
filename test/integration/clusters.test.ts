import type { ServiceBroker } from "moleculer";
import type { ClusterPlace, RoutingMap } from "../../contracts/routing.ts";
import { newAlarmId, shardOf } from "../../domain/alarms/ids.ts";
import { TELLING_MS } from "../../domain/routing/clusters.ts";
import { ledgerOf } from "../../domain/routing/collection-catalog.ts";
import { clusterTarget, nextVersion, type Target } from "../../domain/routing/routing.ts";
import { dayOf } from "../../domain/time/periods.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import { setUp } from "../../ops/system.ts";
import { writeLedger } from "../../stores/alarms/ledger.ts";
import { Outbox } from "../../stores/alarms/outbox.ts";
import { addCluster } from "../../stores/clusters/add-cluster.ts";
import { liftClusterFence, setClusterFence } from "../../stores/clusters/cluster-fence.ts";
import { finishRetirements, retireCluster } from "../../stores/clusters/retire-cluster.ts";
import { setFence } from "../../stores/copy/write-fence.ts";
import { CircuitBreakers } from "../../stores/mongo/circuit-breakers.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { insertInto } from "../../stores/mongo/commands.ts";
import { CachedDocument } from "../../stores/routing/cached-document.ts";
import { changeMap, newestMap } from "../../stores/routing/map-change.ts";
import { ensureCollections } from "../../stores/routing/provision.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { moveDeps } from "../support/movers.ts";
import { realNow, realNowMs } from "../support/now.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { configOf } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Service clusters come and go while the system runs. The tests go in their order, on one system that begins with c0 and c1. */

let system: TestSystem;
let shards: TestShards;
let clusters: Clusters;
let router: ServiceBroker;
let operator: Rest;
let producer: Rest;
let atEdge: Rest;
let edgeUrl: string;

beforeAll(async () => {
	system = await startSystem({ LOGICAL_SHARDS: "2" }, { outside: ["c4", "c5"] });
	shards = new TestShards(system.servers);
	clusters = new Clusters(system.config);
	router = await system.run("gateway,shard.router");
	const edge = await system.run("gateway,alarm.create,alarm.consume,alarm.query,shard.router");
	edgeUrl = urlOf(edge);
	operator = restClient(urlOf(router), system.keys.opsKey);
	producer = restClient(edgeUrl, system.keys.producerKey);
	atEdge = restClient(edgeUrl, system.keys.opsKey);
	const users = { user: "alarm", pwd: "s3cret", roles: ["root"] };
	await shards.cluster("c5").db("admin").command({ createUser: users.user, pwd: users.pwd, roles: users.roles });
});
afterAll(async () => {
	await clusters?.close();
	await shards?.close();
	await system?.stop();
});

const uriOf = (name: string) => system.servers.mongods[name]?.uri ?? "";
const withPassword = (name: string) => uriOf(name).replace("mongodb://", "mongodb://alarm:s3cret@");
const add = (name: string, uri: string) => operator("POST", "/v1/ops/clusters", { name, uri });
const deps = (nowMs = () => realNowMs()) => ({ clusters, nowMs, onMap: () => undefined });
const namesAt = async (rest: Rest) =>
	(await rest("GET", "/v1/ops/clusters")).body.clusters.map(({ name }: { name: string }) => name);
const databasesOn = async (name: string) => {
	const { databases } = await shards.cluster(name).db().admin().listDatabases({ nameOnly: true });
	return databases.map((database) => database.name).filter((database) => database.startsWith("alarm_"));
};

describe("a cluster that cannot be added is refused with a code, and nothing has changed:", () => {
	let before: RoutingMap;
	beforeAll(async () => {
		before = await shards.map();
	});
	afterEach(async () => {
		expect((await shards.map()).clusters).toEqual(before.clusters);
		expect(await databasesOn("c5")).toEqual([]);
	});

	test("one that a running cluster is already, under another name", async () => {
		const { status, body } = await add("c9", `${uriOf("c1")}&appName=other`);
		expect([status, body.code]).toEqual([409, "CLUSTER_KNOWN"]);
		// By another name of the same host: only the servers can tell.
		const { body: other } = await add("c9", uriOf("c1").replace("127.0.0.1", "localhost"));
		expect([other.code, other.detail]).toEqual(["CLUSTER_KNOWN", expect.stringContaining("the cluster c1")]);
	});

	test("one whose name is another's", async () => {
		expect((await add("c1", uriOf("c5"))).body.code).toBe("CLUSTER_NAME_TAKEN");
		expect((await add("a0", uriOf("c5"))).body.code).toBe("CLUSTER_NAME_TAKEN");
	});

	test("one that does not answer", async () => {
		const { status, body } = await add("c5", "mongodb://127.0.0.1:1/?replicaSet=c5");
		expect([status, body.code]).toEqual([503, "CLUSTER_UNREACHABLE"]);
	});

	test("one with a default write concern below majority, a wrong password, or an option that nobody knows", async () => {
		const admin = shards.cluster("c5").db("admin");
		const setDefault = (w: number | string) =>
			admin.command({ setDefaultRWConcern: 1, defaultWriteConcern: { w }, writeConcern: { w: "majority" } });
		await setDefault(1);
		const weak = await add("c5", uriOf("c5"));
		await setDefault("majority");
		expect([weak.status, weak.body.code]).toEqual([422, "CLUSTER_UNFIT"]);
		expect(weak.body.detail).toContain('it must be "majority"');
		for (const uri of [withPassword("c5").replace("s3cret", "wr0ng"), `${withPassword("c5")}&nonsense=1`]) {
			const { status, body } = await add("c5", uri);
			expect([status, body.code]).toEqual([422, "CLUSTER_UNFIT"]);
			expect(JSON.stringify(body)).not.toMatch(/wr0ng|s3cret/);
		}
	});

	test("one whose clock is off", async () => {
		const late = () => realNowMs() + 10_000;
		await expect(addCluster(deps(late), { name: "c5", uri: uriOf("c5"), by: "test" })).rejects.toMatchObject({
			type: "CLUSTER_UNFIT",
			message: expect.stringContaining("synchronize it"),
		});
	});

	test.each(["alarm_s01", "alarm_cluster", "alarm_meta"])("one that holds rows in %s", async (database) => {
		const db = shards.cluster("c5").db(database);
		await db.collection("documents").insertOne({ of: "somebody" });
		const { status, body } = await add("c5", uriOf("c5"));
		await db.dropDatabase();
		expect([status, body.code]).toEqual([409, "CLUSTER_NOT_EMPTY"]);
		expect(body.detail).toContain(`${database}.documents`);
	});

	test("an address or a name that is none, without a word of the address", async () => {
		for (const [name, uri] of [
			["c5", "mongo://alarm:s3cret@h"],
			["C5", `${withPassword("c5")}`],
			["c5", `${withPassword("c5")}&w=1`],
		] as const) {
			const { status, body } = await add(name, uri);
			expect([status, body.code]).toEqual([422, "VALIDATION_FAILED"]);
			expect(JSON.stringify(body)).not.toContain("s3cret");
		}
	});

	test("one that a producer wants", async () => {
		const { status } = await producer("POST", "/v1/ops/clusters", { name: "c5", uri: uriOf("c5") });
		expect(status).toBe(403);
	});
});

test("a cluster is added, every process takes it up, and asking again changes nothing", async () => {
	const { status, body } = await add("c4", uriOf("c4"));
	expect([status, body.state]).toEqual([201, "added"]);
	await eventually(async () => (await namesAt(atEdge)).includes("c4"), "c4 at the edge");
	const again = await add("c4", uriOf("c4"));
	expect([again.status, again.body.state]).toEqual([200, "known"]);
	const { collections, by } = (await shards.map()).clusters.c4 ?? {};
	expect(Object.keys(collections ?? {})).toEqual(
		expect.arrayContaining(["documents", "outbox", "leases", ledgerOf(dayOf(realNowMs()))]),
	);
	expect(by).toBeTruthy();
	const copies = shards.cluster("c4").db("alarm_cluster").collection<{ _id: string }>("documents");
	expect((await copies.find().toArray()).map(({ _id }) => _id)).toEqual(
		expect.arrayContaining(["routing-map", "credentials", "member"]),
	);
});

async function move(shard: number, to: string): Promise<void> {
	const steps = moveShard(moveDeps(clusters, "test"), { run: "r", shard, to });
	for await (const _step of steps) await Promise.resolve();
}

/** A customer of the shard. */
function userOf(shard: number): string {
	const names = Array.from({ length: 64 }, (_, at) => `user-${at}`);
	return names.find((name) => shardOf(newAlarmId(name, 0), 2) === shard) ?? "";
}

test("a shard moves to the new cluster, and is written and read there by processes that began without it", async () => {
	await move(1, "c4");
	const userId = userOf(1);
	const { body } = await producer("POST", "/v1/alarms", { userId, category: "transfer", title: "T", body: "B" });
	const inbox = restClient(edgeUrl, await system.tokenOf(userId));
	await eventually(
		async () => (await inbox("GET", `/v1/users/${userId}/alarms`)).body.items?.[0]?.id === body.id,
		"the alarm in the inbox",
	);
	const id = Buffer.from(body.id, "base64url");
	expect(await shards.clusterOf(id)).toBe("c4");
	expect(await shards.slot(id)).not.toBeNull();
});

test("a process that starts with the old environment learns the rest from the map; one that contradicts it does not start", async () => {
	const late = await system.run("gateway,shard.router");
	expect(await namesAt(restClient(urlOf(late), system.keys.opsKey))).toEqual(["c0", "c1", "c4"]);
	const MONGO_SERVICE_URIS = `${system.servers.env.MONGO_SERVICE_URIS};c4=mongodb://127.0.0.1:1/?replicaSet=c4`;
	const wrong = configOf(system.servers, { LOGICAL_SHARDS: "2", MONGO_SERVICE_URIS });
	// At the same time: both first look for somebody there.
	await Promise.all([
		expect(system.run("alarm.query", { MONGO_SERVICE_URIS })).rejects.toThrow(
			"MONGO_SERVICE_URIS says that c4 is at mongodb://127.0.0.1:1, but the routing map says",
		),
		expect(setUp(wrong, undefined)).rejects.toThrow("the routing map says"),
	]);
	// One that ran before the addition uses neither of the two.
	const running = new Clusters(wrong);
	await newestMap(running);
	expect(() => running.at("c4")).toThrow("only at other hosts");
	await running.close();
});

test("a cluster that has another address is known again by what stands in it: by an addition, and by the set-up", async () => {
	const moved = uriOf("c4").replace("127.0.0.1", "localhost");
	expect((await add("c4", moved)).body.state).toBe("readdressed");
	expect((await shards.map()).clusters.c4?.uri).toBe(moved);
	expect((await add("c4", uriOf("c5"))).body.code).toBe("CLUSTER_NAME_TAKEN");
	const MONGO_SERVICE_URIS = `${system.servers.env.MONGO_SERVICE_URIS};c4=${uriOf("c4")}`;
	await setUp(configOf(system.servers, { LOGICAL_SHARDS: "2", MONGO_SERVICE_URIS }), undefined);
	expect((await shards.map()).clusters.c4?.uri).toBe(uriOf("c4"));
});

test("the password of an address is kept in the map, and shown nowhere", async () => {
	const { status, body } = await add("c5", withPassword("c5"));
	expect([status, body.address]).toEqual([201, uriOf("c5").replace(/\/\?.*/, "")]);
	expect((await shards.map()).clusters.c5?.uri).toBe(withPassword("c5"));
	for (const path of ["/v1/ops/map", "/v1/ops/clusters"]) {
		const shown = JSON.stringify((await operator("GET", path)).body);
		expect(shown).toContain("c5");
		expect(shown).not.toContain("s3cret");
	}
});

test("the list tells what each cluster holds, and which one does not answer", async () => {
	const { clusters: list } = (await operator("GET", "/v1/ops/clusters")).body;
	const of = (name: string) => list.find((one: { name: string }) => one.name === name);
	expect(of("c0")).toMatchObject({ from: "environment", answers: true, shards: [0], outbox: 0 });
	expect(of("c4")).toMatchObject({ from: "map", answers: true, shards: [1] });
	expect(of("c4").rows).toBeGreaterThan(0);
	expect(of("c4").bytes).toBeGreaterThan(0);
	await freeze(system.servers.mongods.c5?.pid ?? 0);
	const silent = (await operator("GET", "/v1/ops/clusters")).body.clusters;
	thaw(system.servers.mongods.c5?.pid ?? 0);
	expect(silent.find((one: { name: string }) => one.name === "c5")).toMatchObject({ answers: false, rows: null });
});

describe("retiring a cluster", () => {
	const later = () => realNowMs() + TELLING_MS + 1_000;
	const todaysLedger = () => ledgerOf(dayOf(realNowMs()));
	const inOutbox = { _id: Buffer.from("x") as unknown as string, lane: "realtime", sinceMs: 1 };
	const rows = (name: string) => shards.cluster("c5").db("alarm_cluster").collection<{ _id: string }>(name);
	/** What a process that has missed the news would still use. */
	let stale: { map: RoutingMap; outbox: Target };

	test("is refused where shards are, for the meta database, and for a name that is none", async () => {
		const retire = async (name: string) => (await operator("DELETE", `/v1/ops/clusters/${name}`)).body;
		expect(await retire("c4")).toMatchObject({ code: "CLUSTER_IN_USE", detail: expect.stringContaining("shards 1;") });
		expect(await retire("c0")).toMatchObject({
			code: "CLUSTER_IN_USE",
			detail: expect.stringContaining("meta database"),
		});
		expect(await retire("c8")).toMatchObject({ status: 404, code: "CLUSTER_UNKNOWN" });
		expect((await newestMap(clusters)).clusters.c4?.retiring).toBeUndefined();
	});

	test("marks it first: nothing new is put there, no shard moves there, and everybody is told", async () => {
		const { status, body } = await operator("DELETE", "/v1/ops/clusters/c5");
		expect([status, body.state]).toEqual([202, "retiring"]);
		expect(body.blockers[0]).toContain("every process is being told, until");
		const map = await newestMap(clusters);
		stale = { map, outbox: clusterTarget(map, "c5", "alarm_cluster", "outbox") as Target };
		await expect(move(0, "c5")).rejects.toThrow("being retired");
		await eventually(async () => {
			const { clusters: list } = (await atEdge("GET", "/v1/ops/clusters")).body;
			return list.some((one: { name: string; retiring?: string }) => one.name === "c5" && one.retiring);
		}, "the mark at the edge");
	});

	test("leaves it out for ledger rows and for accepted batches", async () => {
		const map = structuredClone(stale.map);
		for (const name of ["c0", "c1", "c4"]) delete map.clusters[name]?.collections[todaysLedger()];
		const row = { epoch: "e", number: 1, lane: "realtime" as const, ids: [], publishedAtMs: realNowMs() };
		const counts = { stored: 0, duplicate: 0, failed: 0, parked: 0 };
		const written = writeLedger(
			{ clusters, breaker: new CircuitBreakers().ofRounds.realtime },
			map,
			[{ ...row, counts }],
			realNowMs(),
		);
		await expect(written).rejects.toThrow("no service cluster has a ledger for today");
		const only = { ...map, clusters: { c5: map.clusters.c5 as ClusterPlace } };
		const held = new CachedDocument<RoutingMap>(clusters, "routing-map", { onError: () => undefined });
		held.take(only);
		const batch = { lane: "realtime" as const, epoch: "e", number: 1, payload: Buffer.from("x"), sinceMs: 1 };
		await expect(new Outbox(clusters, held, 1_000_000).save(batch)).rejects.toMatchObject({ type: "OVERLOADED" });
	});

	test("waits for its outbox, its ledger and what moves have left, and says until when", async () => {
		await rows("outbox").insertOne(inOutbox);
		await rows(todaysLedger()).insertOne({ _id: "e:1" });
		await shards.cluster("c5").db("alarm_s00").createCollection("incoming_e5_users");
		const { state, blockers } = await retireCluster(deps(later), "c5", "olga");
		expect(state).toBe("retiring");
		expect(blockers).toEqual([
			expect.stringMatching(/in its outbox|is kept until/),
			expect.stringMatching(/in its outbox|is kept until/),
			expect.stringContaining("alarm_s00.incoming_e5_users is the copy of a move that never ended"),
		]);
		expect(blockers.join()).toContain(dayOf(realNowMs() + 8 * 86_400_000).replaceAll("_", "-"));
		expect((await newestMap(clusters)).clusters.c5).toBeDefined();
		await shards.cluster("c5").db("alarm_s00").dropDatabase();
		await rows("outbox").deleteMany({});
	});

	test("can be taken back by adding it again, and it takes batches again", async () => {
		const target = stale.outbox;
		await setFence(clusters, target);
		expect((await add("c5", withPassword("c5"))).body.state).toBe("returned");
		expect((await newestMap(clusters)).clusters.c5?.retiring).toBeUndefined();
		expect((await insertInto(clusters, target, [inOutbox])).n).toBe(1);
		await rows("outbox").deleteMany({});
		expect((await finishRetirements(deps(later))).retired).toEqual([]);
		await operator("DELETE", "/v1/ops/clusters/c5");
	});

	test("a batch that a process with an old map brings behind the last look is refused by the database itself", async () => {
		const cluster = clusters.at("c5");
		await setClusterFence(cluster);
		expect((await insertInto(clusters, stale.outbox, [inOutbox])).writeErrors?.[0]?.code).toBe(121);
		await liftClusterFence(cluster);
	});

	test("ends by itself when it is empty: it leaves the map, the others let go of it, and late batches find nothing", async () => {
		await rows(todaysLedger()).deleteMany({});
		const old = new Clusters({
			...system.config,
			serviceClusters: [...system.config.serviceClusters, { name: "c5", uri: uriOf("c5") }],
		});
		const rounds = await Promise.all([finishRetirements(deps(later)), finishRetirements(deps(later))]);
		expect(rounds.flatMap(({ retired }) => retired)).toContain("c5");
		const map = await newestMap(clusters);
		expect([map.clusters.c5, Object.keys(map.retired ?? {})]).toEqual([undefined, ["c5"]]);
		await eventually(async () => !(await namesAt(atEdge)).includes("c5"), "c5 gone at the edge");
		await expect(insertInto(old, stale.outbox, [inOutbox])).rejects.toThrow("alarm_cluster.outbox");
		await ensureCollections(old, map, realNow());
		await old.close();
		expect(await databasesOn("c5")).toEqual([]);
		expect((await operator("DELETE", "/v1/ops/clusters/c5")).body).toMatchObject({ state: "retired", blockers: [] });
	});

	test("an environment that still names it does not bring it back; an addition does", async () => {
		const MONGO_SERVICE_URIS = `${system.servers.env.MONGO_SERVICE_URIS};c5=${uriOf("c5")}`;
		const config = configOf(system.servers, { LOGICAL_SHARDS: "2", MONGO_SERVICE_URIS });
		await setUp(config, undefined);
		const broker = await system.run("gateway,shard.router", { MONGO_SERVICE_URIS });
		expect(await namesAt(restClient(urlOf(broker), system.keys.opsKey))).toEqual(["c0", "c1", "c4"]);
		expect(await databasesOn("c5")).toEqual([]);
		expect((await add("c5", uriOf("c5"))).status).toBe(201);
		expect((await newestMap(clusters)).retired).toEqual({});
	});

	test("the last cluster that takes batches stays", async () => {
		const retiring = realNow().toISOString();
		const marked = await changeMap(clusters, (map) => {
			const next = nextVersion(map, realNow());
			for (const name of ["c0", "c1", "c4"]) (next.clusters[name] as ClusterPlace).retiring = retiring;
			return next;
		});
		expect(marked).not.toBeNull();
		expect((await operator("DELETE", "/v1/ops/clusters/c5")).body).toMatchObject({
			code: "CLUSTER_IN_USE",
			detail: expect.stringContaining("the last cluster"),
		});
	});
});
