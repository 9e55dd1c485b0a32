import type { RoutingMap } from "../../contracts/routing.ts";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { type Decision, failed, triage } from "../../domain/alarms/triage.ts";
import { type IntakeDeps, type Outcome, takeIn } from "../../stores/alarms/insert-alarms.ts";
import { CircuitBreakers } from "../../stores/mongo/circuit-breakers.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { CachedDocument } from "../../stores/routing/cached-document.ts";
import { ensureCollections, ensureMap, MAP_ID } from "../../stores/routing/provision.ts";
import { NOW_MS } from "../support/now.ts";
import { FaultProxy } from "../support/proxy.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";

/** Failures on their way into the database, seen from the worker's round. */

const MANY = 300;
/** How long a round waits here: much more than a busy machine takes for some commands, much less than MANY of them take from far away. */
const ROUND_MS = 20_000;
/** MANY commands one after the other then take a minute. */
const FAR_MS = 200;

let servers: TestServers;
let shards: TestShards;
let proxy: FaultProxy;
let clusters: Clusters;
let routing: CachedDocument<RoutingMap>;
let deps: IntakeDeps;
const errors: unknown[] = [];

beforeAll(async () => {
	servers = await startServers(["c0"]);
	shards = new TestShards(servers);
	proxy = await FaultProxy.start(Number(new URL(servers.mongods.c0?.uri ?? "").port));
	const uri = `mongodb://127.0.0.1:${proxy.port}/?directConnection=true`;
	clusters = new Clusters(configOf(servers, { MONGO_SERVICE_URIS: `c0=${uri}`, MONGO_META_URI: uri }));
	const onError = (error: unknown) => errors.push((error as Error).stack);
	await ensureCollections(clusters, await ensureMap(clusters, 2, new Date(NOW_MS)), new Date(NOW_MS));
	routing = new CachedDocument<RoutingMap>(clusters, MAP_ID, { onError });
	await routing.start();
	const pace = { rows: 1_000, inserts: 16, yieldTo: () => Promise.resolve() };
	const breaker = { ...new CircuitBreakers().ofRounds.realtime, limitMs: () => ROUND_MS };
	deps = {
		clusters,
		routing,
		lane: "realtime",
		breaker,
		pace,
		onSlow: () => undefined,
		nowMs: () => NOW_MS,
		onError,
	};
});
afterAll(async () => {
	routing?.stop();
	await clusters?.close();
	proxy?.close();
	await shards?.close();
	await servers?.stop();
});
afterEach(() => expect(errors.splice(0)).toEqual([]));

const AT = { lane: "realtime", streamTimeMs: NOW_MS, sequence: 1, index: 0 } as const;

/** Of one customer, so that all are one group. */
function decisions(count: number, userId: string, atMs: number): Decision[] {
	return Array.from({ length: count }, () => {
		const id = newAlarmId(userId, atMs);
		const alarm = { userId, category: "card", title: "t", body: "b" };
		const queued = { producer: "demo", acceptedAtMs: NOW_MS, alarm };
		return triage({ id, queued, line: encodeItem(id, queued).line }, NOW_MS, AT);
	});
}
const tooNew = (count: number, userId: string) => decisions(count, userId, NOW_MS + 300_000);
const keptAs = (outcomes: Outcome[]) => new Set(outcomes.map((one) => (one.safe ? one.as : one.why)));
const rowsOf = async (userId: string) => (await shards.all("failures")).filter((row) => row.userId === userId).length;

/** A database that is far away, so that rows one by one would take longer than a round waits for it. */
async function farAway(deed: () => Promise<void>): Promise<void> {
	proxy.delay("toClient", FAR_MS);
	await deed();
	proxy.delay("toClient", 0);
}

test("a flood of failing alarms is kept at the first try, and its cluster is not called silent", async () => {
	await farAway(async () => expect(keptAs(await takeIn(deps, tooNew(MANY, "flood")))).toEqual(new Set(["failed"])));
	expect(await rowsOf("flood")).toBe(MANY);
	expect(deps.breaker.mayTry("c0")).toBe(true);
});

test("so is a flood of alarms whose month is closed", async () => {
	const old = decisions(MANY, "old", NOW_MS - 400 * 86_400_000);
	await farAway(async () => expect(keptAs(await takeIn(deps, old))).toEqual(new Set(["failed"])));
	expect(await rowsOf("old")).toBe(MANY);
});

test("a failure whose row is not taken comes again alone", async () => {
	const [one, other] = [tooNew(1, "kept"), tooNew(1, "kept")].flat() as [Decision, Decision];
	other.userId = "fenced";
	const failures = await shards.inMonth(one.id, "failures");
	const database = shards.cluster("c0").db(failures.dbName);
	const fence = (validator: object) => database.command({ collMod: failures.collectionName, validator });
	await fence({ userId: { $ne: "fenced" } });
	expect(await takeIn(deps, [one, other])).toMatchObject([{ safe: true, as: "failed" }, { safe: false }]);
	await fence({});
	expect(await takeIn(deps, [other])).toMatchObject([{ safe: true, as: "failed" }]);
	expect(await rowsOf("fenced")).toBe(1);
});

test("failures that are too large for one command are kept all the same", async () => {
	const broken = tooNew(40, "large").map(({ id }) =>
		failed(id, "CORRUPT_ITEM", { id, line: "x".repeat(500_000), broken: "torn" }, NOW_MS),
	);
	expect(keptAs(await takeIn(deps, broken))).toEqual(new Set(["failed"]));
});

test("a failure is new in the round that has made it safe, and never again", async () => {
	const news = async (some: Decision[]) => (await takeIn(deps, some)).map((one) => one.safe && one.isNew);
	const [stored, late, old] = [
		decisions(1, "news", NOW_MS),
		tooNew(1, "news"),
		decisions(1, "news", NOW_MS - 400 * 86_400_000),
	].map(([one]) => one as Decision) as [Decision, Decision, Decision];
	expect(await news([stored, late, old])).toEqual([true, true, true]);
	expect(await news([stored, late, old, late])).toEqual([false, false, false, false]);
});
