import type { ServiceBroker } from "moleculer";
import type { Run } from "../../contracts/archive.ts";
import { showId } from "../../domain/alarms/ids.ts";
import { monthStartMs } from "../../domain/time/periods.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import type { HasRouting } from "../../mixins/routing.mixin.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { publishLowWatermark } from "../../stores/routing/low-watermark.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { ensureCollections } from "../../stores/routing/provision.ts";
import { eventually } from "../support/eventually.ts";
import { customersOf, putRows, rowIn } from "../support/months.ts";
import { moveDeps } from "../support/movers.ts";
import { realMonth, realNow, realNowMs } from "../support/now.ts";
import { brokenPromises, tally } from "../support/oracle.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { SteadyLoad } from "../support/steady-load.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Producers create, customers read and mark, through whole moves of their shards: nobody notices. */

const SHARDS = 4;
const MONTH = realMonth(-1);
/** Alarms of last month, which are read and marked: of each customer so many, none of them created meanwhile. */
const EACH = 40;
const PER_SHARD = 3;

let system: TestSystem;
let clusters: Clusters;
let shards: TestShards;
let create: ServiceBroker;
let worker: ServiceBroker;
let query: ServiceBroker;
let ops: ServiceBroker;
let operator: Rest;
const expected = new Map<string, string[]>();

beforeAll(async () => {
	const since = new Date(monthStartMs(MONTH));
	const settings = { LOGICAL_SHARDS: String(SHARDS), ARCHIVE_EVERY_MINUTES: "0" };
	system = await startSystem(settings, { names: ["c0", "c1", "a0"], since });
	clusters = new Clusters(system.config);
	shards = new TestShards(system.servers);
	// Key days that are over go now: the router's upkeep would drop them in the middle of a move, which then begins anew.
	await publishLowWatermark(clusters, realNowMs());
	await ensureCollections(clusters, await newestMap(clusters), realNow());
	await seed();
	[create, worker, query, ops] = (await Promise.all(
		["gateway,alarm.create", "alarm.consume", "gateway,alarm.query", "gateway,shard.router,archive.mover"].map(
			(names) => system.run(names),
		),
	)) as [ServiceBroker, ServiceBroker, ServiceBroker, ServiceBroker];
	operator = restClient(urlOf(ops), system.keys.opsKey);
	await eventually(async () => (await operator("GET", "/v1/ops/archive/runs")).status === 200, "the record of runs");
});
afterAll(async () => {
	await shards?.close();
	await clusters?.close();
	await system?.stop();
});

const ownersIn = (shard: number) => customersOf(shard, PER_SHARD, SHARDS);

async function seed(): Promise<void> {
	const map = await newestMap(clusters);
	for (let shard = 0; shard < SHARDS; shard++) {
		const rows = ownersIn(shard).flatMap((userId) => Array.from({ length: EACH }, (_, at) => rowIn(MONTH, userId, at)));
		await putRows(clusters, map, shard, MONTH, rows);
		for (const { _id, userId } of rows) expected.set(userId, [showId(_id), ...(expected.get(userId) ?? [])]);
	}
}

async function scroll(inbox: Rest, userId: string): Promise<string[]> {
	const ids: string[] = [];
	for (let cursor: string | null = null; ; ) {
		const after: string = cursor === null ? "" : `&cursor=${cursor}`;
		const { status, body } = await inbox("GET", `/v1/users/${userId}/alarms?limit=17${after}`);
		if (status !== 200) throw new Error(`${status} ${body.code}: ${body.detail}`);
		ids.push(...body.items.map(({ id }: { id: string }) => id));
		cursor = body.nextCursor;
		if (cursor === null) return ids;
	}
}

/** All that customers of these shards do, until it is stopped: what they saw that was wrong, and which marks were acked. */
class Customers {
	readonly wrong: unknown[] = [];
	readonly acked: string[] = [];
	scrolls = 0;
	#isOver = false;
	readonly #busy: Promise<void>[];

	constructor(of: number[]) {
		const owners = of.flatMap(ownersIn);
		this.#busy = owners.flatMap((userId) => [this.#read(userId), this.#mark(userId)]);
	}

	async stop(): Promise<void> {
		this.#isOver = true;
		await Promise.all(this.#busy);
	}

	async #read(userId: string): Promise<void> {
		const inbox = restClient(urlOf(query), await system.tokenOf(userId));
		while (!this.#isOver) {
			const seen = await scroll(inbox, userId).catch((error: unknown) => [String(error)]);
			if (seen.join() !== expected.get(userId)?.join()) this.wrong.push(seen);
			this.scrolls++;
		}
	}

	async #mark(userId: string): Promise<void> {
		const inbox = restClient(urlOf(query), await system.tokenOf(userId));
		const ids = (expected.get(userId) ?? []).values();
		for (let id = ids.next(); !id.done && !this.#isOver; ) {
			const { status, body } = await inbox("PATCH", `/v1/users/${userId}/alarms/${id.value}`, { read: true });
			if (status === 200) this.acked.push(id.value);
			// On a slow machine a fence may stand for longer than a mark waits: to be asked to come again is no error.
			else if (body.code !== "UNAVAILABLE") this.wrong.push(body);
			if (body.code !== "UNAVAILABLE") id = ids.next();
		}
	}
}

/** Runs `move` under load, and holds everything against the databases afterwards. */
async function underLoad(name: string, of: number[], move: () => Promise<void>): Promise<void> {
	const producers = [restClient(urlOf(create), system.keys.producerKey)];
	const load = await SteadyLoad.start({ name, seed: 8, producers });
	const customers = new Customers(of);
	await load.acceptedMore(30);
	await move();
	await load.acceptedMore(30);
	const before = customers.scrolls;
	await eventually(() => customers.scrolls > before + of.length * PER_SHARD, "inboxes read from the new place");
	const sent = await load.stop();
	await customers.stop();
	expect(tally(sent)).toEqual({ ok: sent.length, refused: 0, unknown: 0 });
	expect(customers.wrong).toEqual([]);
	// A seeded alarm carries no mark of the load.
	const loaded = async () => (await shards.all("alarms_")).filter(({ data }) => data?.mark?.startsWith(`${name}-`));
	await eventually(async () => (await loaded()).length >= sent.length, "all stored");
	expect(brokenPromises(sent, await loaded())).toEqual([]);
	const rows = await shards.all(`alarms_${MONTH}`);
	const read = new Set(rows.filter(({ readAt }) => readAt !== undefined).map(({ _id }) => showId(_id)));
	expect(customers.acked.length).toBeGreaterThan(0);
	expect(customers.acked.filter((id) => !read.has(id))).toEqual([]);
}

const clusterOf = async (shard: number) => (await newestMap(clusters)).shards[shard]?.cluster;

test("shards that are moved over REST, there and back, are read and written all the time", async () => {
	const asked = async (shard: number, to: string) => {
		const { status, body } = await operator("POST", `/v1/ops/shards/${shard}/move`, { to });
		expect([status, body.code]).toEqual([202, undefined]);
		await eventually(async () => {
			const run: Run = (await operator("GET", `/v1/ops/archive/runs/${body.id}`)).body;
			if (run.state === "refused") throw new Error(run.reason?.message);
			return run.state === "done";
		}, `${body.id} done`);
		expect(await clusterOf(shard)).toBe(to);
	};
	await underLoad("rest", [0, 2], async () => {
		await Promise.all([asked(0, "c1"), asked(2, "c1")]);
		await asked(0, "c0");
	});
});

/** From now on this process asks for no map of its own, and none of the movers tells it: error 361 is all that is left. */
function deafen(broker: ServiceBroker, service: string): HasRouting["routing"] {
	const { routing } = broker.getLocalService(service) as unknown as HasRouting;
	routing.stop();
	return routing;
}

test("processes that hear no news and do not poll find the shard by the answers of the databases, and no customer notices", async () => {
	const held = [deafen(worker, "alarm.consume"), deafen(query, "alarm.query")];
	const before = held.map(({ current }) => current.version);
	await underLoad("deaf", [1], async () => {
		for await (const step of moveShard(moveDeps(clusters, "silent"), { run: "silent", shard: 1, to: "c0" })) {
			// Up to the switch there is nothing to find: all of it goes on with the old map.
			if (step === "drained") expect(held.map(({ current }) => current.version)).toEqual(before);
		}
	});
	expect(await clusterOf(1)).toBe("c0");
	for (const { current } of held) expect(current.shards[1]?.cluster).toBe("c0");
});

test("a writer and a reader that were asleep through a whole move, to the end of its time of grace, go on with the first try", async () => {
	// Each is held against its own map: the router may have dropped key days between the loads of the two.
	const held = [deafen(worker, "alarm.consume"), deafen(query, "alarm.query")];
	const stale = held.map(({ current }) => current);
	for (const { shards } of stale) expect(shards[3]?.cluster).toBe("c1");
	for await (const _ of moveShard(moveDeps(clusters, "silent"), { run: "silent", shard: 3, to: "c0" }));
	expect(held.map(({ current }) => current.shards[3])).toEqual(stale.map(({ shards }) => shards[3]));
	const [userId = ""] = ownersIn(3);
	const inbox = restClient(urlOf(query), await system.tokenOf(userId));
	const [id = ""] = expected.get(userId) ?? [];
	expect((await inbox("PATCH", `/v1/users/${userId}/alarms/${id}`, { read: true })).status).toBe(200);
	expect(await scroll(inbox, userId)).toEqual(expected.get(userId));
	const producer = restClient(urlOf(create), system.keys.producerKey);
	const alarm = { userId, category: "card", title: "t", body: "b", data: { mark: "stale-1" } };
	const { body } = await producer("POST", "/v1/alarms", alarm);
	await eventually(async () => (await scroll(inbox, userId)).includes(body.id), "the new alarm in the inbox");
});
