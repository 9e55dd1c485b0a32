import type { Document } from "mongodb";
import type { CollectionPlace } from "../../contracts/routing.ts";
import { newAlarmId, shardOf, userHash } from "../../domain/alarms/ids.ts";
import type { Removed } from "../../domain/jobs/erase.ts";
import { alarmsOf, keysOf, ledgerOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { dayOf, monthOf } from "../../domain/time/periods.ts";
import {
	ERASE_STEPS,
	type EraseDeps,
	type EraseStep,
	type EraseWork,
	eraseCustomer,
} from "../../jobs/erase-customer.ts";
import { takeShardLock } from "../../jobs/lock/shard-lock.ts";
import { audit } from "../../jobs/reconcile/reconcile.ts";
import { lastDays } from "../../jobs/reconcile/reconcile-runner.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { ensureCollections, ensureMap } from "../../stores/routing/provision.ts";
import {
	AGO_MS,
	alarmRow,
	ErasableSystem,
	failureRow,
	keyRow,
	tombstoneRow,
	userRow,
	type Whose,
} from "../support/erasable.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realMonth, realNow, realNowMs } from "../support/now.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";

let servers: TestServers;
let clusters: Clusters;
let system: ErasableSystem;

beforeAll(async () => {
	servers = await startServers(["c0", "c1", "a0"]);
	clusters = new Clusters(configOf(servers));
	await ensureCollections(clusters, await ensureMap(clusters, 4, realNow()), realNow());
	system = new ErasableSystem(servers, clusters);
});
afterAll(async () => {
	await system?.close();
	await clusters?.close();
	await servers?.stop();
});
beforeEach(() => system.clear());

const GONE = "gone";
const OWNER = userHash(GONE);
/** An owner's rows by the time of their acceptance. */
const of =
	(userId: string, owner = userHash(userId)) =>
	(timeMs: number): Whose => ({ userId, owner, timeMs });
const beside = (by: bigint) => {
	const owner = Buffer.alloc(8);
	owner.writeBigUInt64BE(OWNER.readBigUInt64BE() + by);
	return owner;
};
const depsOf = (more: Partial<EraseDeps> = {}): EraseDeps => ({
	clusters,
	node: "test",
	onMap: () => undefined,
	nowMs: realNowMs,
	pace: async () => undefined,
	onProgress: () => undefined,
	signal: new AbortController().signal,
	waitMs: 0,
	...more,
});
/** Began a minute ago, and all but the last half minute has arrived. */
const workOf = (more: Partial<EraseWork> = {}): EraseWork => ({
	run: "erase-1",
	userId: GONE,
	startedAtMs: realNowMs() - 60_000,
	...more,
});
const sayArrived = () => system.sayArrived(realNowMs() - 30_000);

async function finish(steps: AsyncGenerator<EraseStep, Removed>): Promise<Removed> {
	for (;;) {
		const next = await steps.next();
		if (next.done) return next.value;
	}
}
const erase = (deps = depsOf(), work = workOf()) => finish(eraseCustomer(deps, work));

async function stepTo(steps: AsyncGenerator<EraseStep, Removed>, last: EraseStep): Promise<void> {
	for (let step: unknown; step !== last; ) {
		const next = await steps.next();
		if (next.done) throw new Error(`it ended before ${last}`);
		step = next.value;
	}
}

const home = () => system.shardOf(GONE);
const otherThan = (cluster: string) => (cluster === "c0" ? "c1" : "c0");
/** As many alarms of this month as a worker would have stored, on their own. */
const store = async (rows: (Document & { _id: Buffer })[]) => {
	const { shard, cluster } = await home();
	await system.put(cluster, shardDatabase(shard), alarmsOf(realMonth()), rows);
};
const reconcile = (of = clusters) => audit({ clusters: of, ...lastDays(1, realNowMs()), waitMs: 0 });
const idsOf = (rows: { _id: Buffer }[]) => rows.map(({ _id }) => _id);
const recent = (userId = GONE, owner = userHash(userId)) => of(userId, owner)(realNowMs() - AGO_MS);

/** Another customer of the same hash, and its neighbours on both sides, in every place. */
async function fillWithOthers(): Promise<void> {
	const { shard, cluster } = await home();
	const others = [of("stays", OWNER), of("below", beside(-1n)), of("above", beside(1n))];
	for (const other of others) {
		await system.fill(shard, cluster, otherThan(cluster), other);
		await system.put(cluster, shardDatabase(shard), "users", [userRow(other(realNowMs()))]);
	}
}

async function fillWithGone(count: number): Promise<void> {
	const { shard, cluster } = await home();
	await system.fill(shard, cluster, otherThan(cluster), of(GONE), count);
	await system.put(cluster, shardDatabase(shard), "users", [userRow(recent())]);
	await store([tombstoneRow(recent())]);
}

describe("an erase", () => {
	test("leaves no row of the customer in any place, and every byte of everybody else's", async () => {
		await fillWithOthers();
		await forgetKeys(OWNER);
		const before = await system.everything();
		await fillWithGone(5);
		await sayArrived();
		expect(await erase()).toEqual({
			alarms: 11,
			retained_archive: 5,
			keys: 5,
			failures: 5,
			users: 1,
			archived: 5,
			copy: 5,
		});
		expect(await system.everything()).toEqual(before);
	});

	test("goes through a customer of several thousand alarms in chunks", async () => {
		const others = Array.from({ length: 1_500 }, (_, n) => alarmRow(of("stays", OWNER)(realNowMs() - AGO_MS - n)));
		await store(others);
		const before = await system.everything();
		await store(Array.from({ length: 2_500 }, (_, n) => alarmRow(of(GONE)(realNowMs() - AGO_MS - n))));
		await sayArrived();
		const counts: (number | undefined)[] = [];
		const deps = depsOf({ onProgress: ({ alarms }) => void counts.push(alarms) });
		expect(await erase(deps)).toEqual({ alarms: 2_500 });
		expect(counts.length).toBeGreaterThan(2);
		expect(counts.toSorted((one, other) => (one ?? 0) - (other ?? 0))).toEqual(counts);
		expect(await system.everything()).toEqual(before);
	});

	test("takes the customer's ids out of the ledgers of all clusters, and a reconciliation finds nothing missing", async () => {
		const { shard, cluster } = await home();
		const gone = [1, 2, 3].map(() => alarmRow(recent()));
		const stays = [1, 2].map(() => alarmRow(recent("stays", OWNER)));
		await store([...gone, ...stays]);
		const neighbour = await rowsOfAnotherShard(shard);
		await system.ledger("c0", "e:000000000001", [...idsOf(gone.slice(0, 1)), ...neighbour]);
		await system.ledger("c1", "e:000000000002", idsOf(gone.slice(1)));
		await system.account(otherThan(cluster), "e", 2);
		await sayArrived();
		expect(await erase()).toMatchObject({ ledger: 3, alarms: 3 });
		expect(await ledgerRow("c0", "e:000000000001")).toMatchObject({ ids: Buffer.concat(neighbour), erased: 1 });
		expect(await ledgerRow("c1", "e:000000000002")).toMatchObject({ ids: Buffer.alloc(0), erased: 2, stored: 2 });
		expect(await reconcile()).toMatchObject({ batches: 2, ids: 2, erased: 3, slots: { stored: 2 }, wrong: [] });
	});

	test("of two customers at once loses no change of a ledger row that both are in", async () => {
		const users = await usersOfTwoShards();
		const batches = Array.from({ length: 50 }, (_, n) => ({
			batch: `e:${String(n).padStart(12, "0")}`,
			ids: users.map((user) => newAlarmId(user, realNowMs() - AGO_MS)),
		}));
		for (const { batch, ids } of batches) await system.ledger("c0", batch, ids);
		await sayArrived();
		const removed = await Promise.all(
			users.map((userId) => erase(depsOf(), workOf({ userId, run: `erase-${userId}` }))),
		);
		expect(removed).toEqual([{ ledger: 50 }, { ledger: 50 }]);
		for (const { batch } of batches)
			expect(await ledgerRow("c0", batch)).toMatchObject({ ids: Buffer.alloc(0), erased: 2 });
	});
});

/** A key does not say whose it is: with the hash go the keys of all who have it. */
async function forgetKeys(owner: Buffer): Promise<void> {
	const { shard, cluster } = await home();
	const keys = system
		.client(cluster)
		.db(shardDatabase(shard))
		.collection(keysOf(dayOf(realNowMs())));
	const all = await keys.find({}, { projection: { _id: 1 } }).toArray();
	const ids = all.map(({ _id }) => _id).filter((id) => owner.equals((id as unknown as Buffer).subarray(0, 8)));
	await keys.deleteMany({ _id: { $in: ids } });
}

async function rowsOfAnotherShard(shard: number): Promise<Buffer[]> {
	const { shards } = await newestMap(clusters);
	const user = anyUser((other) => other !== shard);
	const rows = [1, 2].map(() => alarmRow(recent(user)));
	const other = shardOf(userHash(user), shards.length);
	const cluster = shards[other]?.cluster ?? "";
	await system.put(cluster, shardDatabase(other), alarmsOf(monthOf(realNowMs() - AGO_MS)), rows);
	return idsOf(rows);
}

function anyUser(fits: (shard: number) => boolean): string {
	for (let n = 0; ; n++) if (fits(shardOf(userHash(`user-${n}`), 4))) return `user-${n}`;
}

const usersOfTwoShards = async () => [anyUser((shard) => shard === 0), anyUser((shard) => shard === 1)];

async function ledgerRow(cluster: string, batch: string): Promise<Document | null> {
	const day = ledgerOf(dayOf(realNowMs()));
	return system.client(cluster).db("alarm_cluster").collection<Document & { _id: string }>(day).findOne({ _id: batch });
}

describe("what was on its way when the erase began", () => {
	const arrive = async () => {
		const rows = [alarmRow(recent()), tombstoneRow(recent())];
		const failure = failureRow(recent());
		const { shard, cluster } = await home();
		await store(rows);
		await system.put(cluster, shardDatabase(shard), "failures", [failure]);
		await system.put(cluster, shardDatabase(shard), keysOf(dayOf(realNowMs())), [keyRow(recent())]);
		await system.ledger("c1", "late:000000000001", [...idsOf(rows), failure._id]);
	};

	test("is removed by the second sweep, and nothing is missing at any moment", async () => {
		const before = await system.everything();
		const steps = eraseCustomer(depsOf(), workOf());
		await stepTo(steps, "swept");
		await arrive();
		await sayArrived();
		await stepTo(steps, "ledgers swept again");
		expect(await reconcile()).toMatchObject({ ids: 0, erased: 3, wrong: [] });
		expect(await finish(steps)).toEqual({ ledger: 3, failures: 1, alarms: 2, keys: 1 });
		expect(await reconcile()).toMatchObject({ ids: 0, erased: 3, wrong: [] });
		const day = ledgerOf(dayOf(realNowMs()));
		await system.client("c1").db("alarm_cluster").collection(day).deleteMany({});
		expect(await system.everything()).toEqual(before);
	});

	test("is waited for: the erase is not over before the low-watermark has passed its beginning, whoever calls it how often", async () => {
		const work = workOf();
		await expect(erase(depsOf(), work)).rejects.toThrow("no worker has said what has arrived");
		await system.sayArrived(work.startedAtMs + 9_000);
		await expect(erase(depsOf({ waitMs: 10 }), { ...work, after: "swept" })).rejects.toMatchObject({
			name: "StillArriving",
			message: expect.stringContaining(`before ${new Date(work.startedAtMs).toISOString()} may not have arrived`),
		});
		await arrive();
		await sayArrived();
		expect(await erase(depsOf(), { ...work, after: "swept" })).toMatchObject({ alarms: 2 });
	});

	test("is waited for with the shard free for others, and a stop ends the waiting", async () => {
		const stop = new AbortController();
		const steps = eraseCustomer(depsOf({ waitMs: 60_000, signal: stop.signal }), workOf());
		await stepTo(steps, "swept");
		const waiting = expect(steps.next()).rejects.toMatchObject({ name: "AbortError" });
		const other = await takeShardLock(depsOf(), (await home()).shard, { kind: "archive", run: "archive-1" });
		expect(other).not.toBeNull();
		await other?.release();
		stop.abort();
		await waiting;
	});

	test("is not mixed up with what came since: that stays, with its ledger row still to come", async () => {
		await sayArrived();
		const [young] = [alarmRow(of(GONE)(realNowMs() - 1_000))];
		await store([alarmRow(recent()), young]);
		expect(await erase()).toEqual({ alarms: 1 });
		await system.ledger("c0", "young:000000000001", [young._id]);
		await system.sayArrived(realNowMs());
		expect(await reconcile()).toMatchObject({ ids: 1, slots: { stored: 1 }, wrong: [] });
	});
});

describe("a reconciliation that runs at the same time", () => {
	/** Does a deed once, before the first look for ids in a month. */
	const beforeLookUp = (deed: () => Promise<unknown>): Clusters => {
		let done: Promise<unknown> | null = null;
		const watched = (cluster: Cluster) => ({
			name: cluster.name,
			read: async (database: string, command: Document) => {
				if (command.filter?._id?.$in !== undefined) {
					done ??= deed();
					await done;
				}
				return cluster.read(database, command);
			},
		});
		const service = new Map([...clusters.service].map(([name, cluster]) => [name, watched(cluster)]));
		const at = (name: string) => service.get(name) ?? clusters.at(name);
		const learn = () => undefined;
		return { service, archive: clusters.archive, meta: clusters.meta, at, learn } as unknown as Clusters;
	};

	test("does not call missing what was erased between its row and its slot", async () => {
		const rows = [alarmRow(recent()), alarmRow(recent())];
		await store(rows);
		await system.ledger("c0", "e:000000000001", idsOf(rows));
		await sayArrived();
		const report = await reconcile(beforeLookUp(() => erase()));
		expect(report).toMatchObject({ ids: 0, erased: 2, wrong: [] });
	});

	test("still calls missing what is", async () => {
		const rows = [alarmRow(recent()), alarmRow(of("stays", OWNER)(realNowMs() - AGO_MS))];
		await store(rows.slice(0, 1));
		await system.ledger("c0", "e:000000000001", idsOf(rows));
		await sayArrived();
		expect(await reconcile()).toMatchObject({ missing: { count: 1 }, ids: 2, erased: 0 });
	});
});

describe("an erase that is cut off", () => {
	test.each(ERASE_STEPS)("after the step '%s' goes on when it is called again", async (step) => {
		const before = await system.everything();
		await fillWithGone(2);
		await sayArrived();
		const first = eraseCustomer(depsOf(), workOf());
		await stepTo(first, step);
		await first.return({});
		await erase(depsOf(), workOf({ after: step }));
		expect(await system.everything()).toEqual(before);
	});

	test("in the middle of a sweep is told what it had removed, and adds to it", async () => {
		await fillWithGone(2);
		await sayArrived();
		const stop = new AbortController();
		let removed: Removed = {};
		const onProgress = (now: Removed) => {
			removed = now;
			stop.abort();
		};
		await expect(erase(depsOf({ onProgress, signal: stop.signal }))).rejects.toMatchObject({ name: "AbortError" });
		expect(removed).toEqual({ failures: 2 });
		expect(await erase(depsOf(), workOf({ after: "ledgers swept", removed }))).toMatchObject({
			failures: 2,
			alarms: 5,
		});
	});

	test("with its process keeps the shard until its lease is over, and is then taken up by another", async () => {
		const dying = new Clusters(configOf(servers));
		const before = await system.everything();
		await fillWithGone(2);
		await sayArrived();
		const first = eraseCustomer(depsOf({ clusters: dying }), workOf());
		await stepTo(first, "ledgers swept");
		await dying.close();
		await expect(erase()).rejects.toMatchObject({ name: "ShardBusy" });
		expect(
			(await system.everything())[`${(await home()).cluster}/${shardDatabase((await home()).shard)}.users`],
		).toHaveLength(1);
		const shards = new TestShards(servers);
		await shards.endLease((await home()).shard).finally(() => shards.close());
		await erase();
		expect(await system.everything()).toEqual(before);
		await expect(finish(first)).rejects.toThrow();
	});
});

describe("an erase does nothing", () => {
	test("while another process is at work on the shard", async () => {
		await fillWithGone(1);
		await sayArrived();
		const before = await system.everything();
		const { shard } = await home();
		const other = await takeShardLock(depsOf(), shard, { kind: "archive", run: "archive-1" });
		await expect(erase()).rejects.toMatchObject({
			name: "ShardBusy",
			message: `another process is at work on shard ${shard}`,
		});
		expect(await system.everything()).toEqual(before);
		await other?.release();
		expect(await erase()).toMatchObject({ alarms: 3 });
	});

	test("while an archive stands still, and says which; it goes on when that is back", async () => {
		await fillWithGone(1);
		await sayArrived();
		const before = await system.everything();
		await freeze(servers.mongods.a0?.pid ?? 0);
		try {
			await expect(erase()).rejects.toMatchObject({ type: "UNAVAILABLE", data: { cluster: "a0" } });
		} finally {
			thaw(servers.mongods.a0?.pid ?? 0);
		}
		expect(await system.everything()).toEqual(before);
		expect(await eventually(() => erase(), "the archive back")).toMatchObject({ archived: 1, copy: 1 });
	});

	test("while the map names an archive that the configuration has not, and says which", async () => {
		await fillWithGone(1);
		await sayArrived();
		const before = await system.everything();
		const { shard } = await home();
		const setPlace = async (place: CollectionPlace | null) => {
			const lock = await takeShardLock(depsOf(), shard, { kind: "archive", run: "archive-1" });
			await lock?.setPlace("alarms_2020_01", place);
			await lock?.release();
		};
		await setPlace({ tier: "archive", uuid: "00", cluster: "a9" });
		await expect(erase()).rejects.toThrow("names the cluster a9");
		expect(await system.everything()).toEqual(before);
		await setPlace(null);
		expect(await erase()).toMatchObject({ alarms: 3 });
	});

	test("more once an archive stands still in its middle, and is not over before that is back", async () => {
		await fillWithGone(1);
		await sayArrived();
		const steps = eraseCustomer(depsOf(), workOf());
		await stepTo(steps, "ledgers swept again");
		await store([alarmRow(recent())]);
		await freeze(servers.mongods.a0?.pid ?? 0);
		try {
			await expect(finish(steps)).rejects.toMatchObject({ type: "UNAVAILABLE", data: { cluster: "a0" } });
		} finally {
			thaw(servers.mongods.a0?.pid ?? 0);
		}
		const again = () => erase(depsOf(), workOf({ after: "ledgers swept again" }));
		expect(await eventually(again, "the archive back")).toEqual({ alarms: 1 });
	});
});
