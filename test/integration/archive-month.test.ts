import type { CollectionInfo, Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { idTimeMs, showId } from "../../domain/alarms/ids.ts";
import type { Slot } from "../../domain/alarms/rows.ts";
import {
	alarmsOf,
	archiveDatabase,
	retainedArchiveOf,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import { shardTarget, type Target } from "../../domain/routing/routing.ts";
import { addMonths } from "../../domain/time/periods.ts";
import { liftDeadFences } from "../../jobs/lock/lift-dead-fences.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { dropRetainedArchives } from "../../jobs/migrate/drop-archived-source.ts";
import { dropMonth } from "../../jobs/migrate/drop-month.ts";
import { MOVE_STEPS, type MoveDeps, type MoveStep } from "../../jobs/migrate/migration.ts";
import { gatherFacts } from "../../jobs/plan/archive-facts.ts";
import { COPY_CHUNK } from "../../stores/copy/online-copy.ts";
import { readRaw } from "../../stores/copy/raw-rows.ts";
import { setFence } from "../../stores/copy/write-fence.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { insertInto, updateOne } from "../../stores/mongo/commands.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { fillMonth, putRows, rowIn } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { realMonth, realNow, realNowMs } from "../support/now.ts";
import { configOf, type TestServers } from "../support/servers.ts";
import type { TestShards } from "../support/shards.ts";

const MONTH = realMonth(-4);
/** More than one chunk. */
const MANY = { customers: 20, each: 40 };

let databases: Databases;
let servers: TestServers;
let clusters: Clusters;
let shards: TestShards;
/** Each test has a shard of its own. */
let shard = -1;
let map: RoutingMap;
let rows: Slot[];

beforeAll(async () => {
	databases = await startDatabases(32, MONTH);
	({ servers, clusters, shards } = databases);
});
afterAll(() => databases?.stop());
beforeEach(async () => {
	shard++;
	map = await newestMap(clusters);
	rows = await fillMonth(clusters, map, shard, MONTH, MANY);
});

const deps = (more: Partial<MoveDeps> = {}) => moveDeps(clusters, "test", more);
const work = (more: object = {}) => ({ run: "r", shard, month: MONTH, ...more });
const placeNow = async () => (await newestMap(clusters)).shards[shard]?.collections[alarmsOf(MONTH)];
const sourceOf = () => shardTarget(map, shard, alarmsOf(MONTH)) as Target;

async function archive(more: Partial<MoveDeps> = {}, at: (step: MoveStep) => Promise<void> | void = () => undefined) {
	const steps: MoveStep[] = [];
	for await (const step of archiveMonth(deps(more), work())) {
		steps.push(step);
		await at(step);
	}
	return steps;
}

/** The bytes of every row of a collection, found by its name alone. */
async function bytesIn(cluster: string, database: string, collection: string): Promise<Buffer[]> {
	const info = await infoOf(cluster, database, collection);
	if (info === undefined) return [];
	const uuid = info.info?.uuid?.toString("hex") ?? "";
	const target: Target = { cluster, database, collection, uuid, tier: "service" };
	const found: Buffer[] = [];
	for (let after: Buffer | null = null; ; ) {
		const some = await readRaw(clusters, target, after, 1_000);
		if (some.length === 0) return found;
		found.push(...some);
		after = some.at(-1)?.subarray(14, 34) ?? null;
	}
}

async function infoOf(cluster: string, database: string, name: string): Promise<CollectionInfo | undefined> {
	const [info] = await shards.cluster(cluster).db(database).listCollections({ name }).toArray();
	return info as CollectionInfo | undefined;
}

const serviceCluster = () => map.shards[shard]?.cluster ?? "";
const inArchive = () => bytesIn("a0", archiveDatabase(shard), alarmsOf(MONTH));
const atSource = (name = alarmsOf(MONTH)) => bytesIn(serviceCluster(), shardDatabase(shard), name);

/** In milliseconds, where a comparison of thousands of buffers one by one takes seconds. */
function expectSame(found: Buffer[], before: Buffer[]) {
	expect(found).toHaveLength(before.length);
	expect(Buffer.concat(found).equals(Buffer.concat(before))).toBe(true);
}

/** Whatever happened before: the month is in the archive, equal to its source, which was renamed away and may be dropped. */
async function expectArchived(before: Buffer[]) {
	const place = await placeNow();
	expect(place).toMatchObject({ tier: "archive", cluster: "a0", retained: { settled: true } });
	const info = await infoOf("a0", archiveDatabase(shard), alarmsOf(MONTH));
	expect(info?.info?.uuid?.toString("hex")).toBe(place?.uuid);
	expectSame(await inArchive(), before);
	expectSame(await atSource(retainedArchiveOf(MONTH)), before);
	expect(await infoOf(serviceCluster(), shardDatabase(shard), alarmsOf(MONTH))).toBeUndefined();
	const left = await shards
		.cluster("a0")
		.db(archiveDatabase(shard))
		.listCollections({ name: /^copy_/ })
		.toArray();
	expect(left).toEqual([]);
	expect((await newestMap(clusters)).shards[shard]?.lock).toBeUndefined();
}

test("a month is brought into the archive byte by byte, compressed by zstd, and its source is renamed away", async () => {
	const before = await atSource();
	expect(before).toHaveLength(rows.length);
	expect(await archive()).toEqual([...MOVE_STEPS]);
	await expectArchived(before);
	const info = await infoOf("a0", archiveDatabase(shard), alarmsOf(MONTH));
	expect(info?.options).toMatchObject({
		clusteredIndex: { key: { _id: 1 } },
		storageEngine: { wiredTiger: { configString: "block_compressor=zstd,leaf_page_max=128KB" } },
	});
	expect(await archive()).toEqual([]);
});

test("what is written to the month until the fence stands is in the archive: marks, late alarms, replaced slots", async () => {
	const alarms = rows.filter((row) => "userId" in row);
	let at = 0;
	const write = async (step: MoveStep) => {
		if (["fenced", "drained", "switched", "renamed", "settled"].includes(step)) return;
		for (const { _id } of alarms.slice(at, at + 40))
			await updateOne(clusters, sourceOf(), { _id }, [{ $set: { readAt: realNow() } }]);
		at += 40;
		await putRows(clusters, map, shard, MONTH, [rowIn(MONTH, "late", at), rowIn(MONTH, `early${at}`, at)]);
		const tombstone = rows.find((row) => "outcome" in row)?._id as Buffer;
		await updateOne(clusters, sourceOf(), { _id: tombstone }, { ...rowIn(MONTH, "again", at), _id: tombstone });
	};
	await archive({}, write);
	const found = await inArchive();
	expect(found).toHaveLength(rows.length + 8);
	await expectArchived(await atSource(retainedArchiveOf(MONTH)));
	expect(Buffer.concat(found).includes("readAt")).toBe(true);
});

test("once fenced, the source takes neither inserts nor updates", async () => {
	await archive({}, async (step) => {
		if (step !== "fenced" && step !== "drained") return;
		const _id = rows[0]?._id as Buffer;
		await expect(updateOne(clusters, sourceOf(), { _id }, { $set: { hidden: true } })).rejects.toThrow("alarms_");
		const reply = await insertInto(clusters, sourceOf(), [rowIn(MONTH, "late", 1) as unknown as Document]);
		expect(reply.writeErrors).toMatchObject([{ code: 121 }]);
	});
});

const copyNow = async () => {
	const [{ name = "" } = {}] = await shards.cluster("a0").db(archiveDatabase(shard)).listCollections().toArray();
	return shards.cluster("a0").db(archiveDatabase(shard)).collection<Document & { _id: Buffer }>(name);
};

describe("a copy that is not equal is refused, by name, and nothing is switched or dropped", () => {
	const spoil: [string, (_id: Buffer) => Promise<unknown>, (_id: Buffer) => string][] = [
		["a changed row", async (_id) => (await copyNow()).updateOne({ _id }, { $set: { title: "spoiled" } }), showId],
		["a missing row", async (_id) => (await copyNow()).deleteOne({ _id }), showId],
		[
			"a row too many",
			async () => (await copyNow()).insertOne({ ...rowIn(MONTH, "nobody", 7), _id: Buffer.alloc(20, 7) }),
			() => showId(Buffer.alloc(20, 7)),
		],
	];
	test.each(spoil)("%s", async (_, deed, named) => {
		const before = await atSource();
		const _id = rows[123]?._id as Buffer;
		const spoiled = archive({}, async (step) => {
			if (step === "copied") await deed(_id);
		});
		await expect(spoiled).rejects.toMatchObject({ name: "MoveRejected", code: "COPY_DIFFERS" });
		await expect(archive()).rejects.toThrow(named(_id));
		expect(await placeNow()).toEqual({ tier: "service", uuid: sourceOf().uuid });
		expectSame(await atSource(), before);
		// The source takes writes again, and a fresh copy is right.
		expect(await updateOne(clusters, sourceOf(), { _id }, { $set: { hidden: true } })).toBe(true);
		for await (const _ of archiveMonth(deps(), work({ fresh: true })));
		await expectArchived(await atSource(retainedArchiveOf(MONTH)));
	});
});

test("a row that is spoiled and then marked by its customer is right again, because it is copied again", async () => {
	const { _id } = rows.find((row) => "userId" in row) as Slot;
	await archive({}, async (step) => {
		if (step !== "copied") return;
		await (await copyNow()).updateOne({ _id }, { $set: { title: "spoiled" } });
		await updateOne(clusters, sourceOf(), { _id }, [{ $set: { readAt: realNow() } }]);
	});
	await expectArchived(await atSource(retainedArchiveOf(MONTH)));
});

test("a mover that is killed after any of its steps is followed by one that goes on, and nothing is lost or doubled", async () => {
	const before = await atSource();
	for (const step of MOVE_STEPS) {
		const mover = startMover(servers, { shard, month: MONTH });
		await mover.until(step);
		await mover.kill();
		await shards.endLease(shard);
	}
	await archive();
	await expectArchived(before);
});

test("a copy that was cut off goes on behind its last row", async () => {
	const before = await atSource();
	let chunks = 0;
	const cut = archive({
		pace: async () => {
			if (++chunks === 2) throw new Error("cut off");
		},
	});
	await expect(cut).rejects.toThrow("cut off");
	expect(await placeNow()).toEqual({ tier: "service", uuid: sourceOf().uuid });
	let copied = 0;
	await archive({
		onProgress: ({ done = copied }) => {
			copied = done;
		},
	});
	expect(copied).toBe(rows.length - COPY_CHUNK);
	await expectArchived(before);
});

test("a comparison is seen to go on, as the copying is", async () => {
	const before = await atSource();
	const seen: (number | undefined)[] = [];
	await archive({ onProgress: ({ verified }) => void seen.push(verified) });
	const verified = seen.filter((count) => count !== undefined);
	expect(verified.length).toBeGreaterThan(1);
	expect(verified).toEqual([...verified].sort((one, other) => one - other));
	expect(verified.at(-1)).toBe(rows.length);
	await expectArchived(before);
});

test("a copy that was begun stays where it is when there are more archive clusters by the next attempt", async () => {
	const before = await atSource();
	let chunks = 0;
	const pace = () => (++chunks === 2 ? Promise.reject(new Error("cut off")) : Promise.resolve());
	await expect(archive({ pace })).rejects.toThrow("cut off");
	// In whose order this shard would be dealt to the other one, which is a service cluster, too.
	const uris = [`a0=${servers.mongods.a0?.uri}`, `a1=${servers.mongods.c0?.uri}`];
	const ordered = shard % 2 === 0 ? uris.reverse() : uris;
	const more = new Clusters(configOf(servers, { LOGICAL_SHARDS: "32", MONGO_ARCHIVE_URIS: ordered.join(";") }));
	let copied = 0;
	const onProgress = ({ done = copied }: { done?: number }) => {
		copied = done;
	};
	await archive({ clusters: more, onProgress }).finally(() => more.close());
	expect(copied).toBe(rows.length - COPY_CHUNK);
	await expectArchived(before);
});

describe("a mover that is frozen, and wakes after another has taken over, does no harm", () => {
	// After each of the others: test/faults/frozen.test.ts.
	test.each(["verified", "switched"])("after: %s", async (step) => {
		const before = await atSource();
		const sleeper = startMover(servers, { shard, month: MONTH });
		await sleeper.until(step);
		await freeze(sleeper.pid);
		await shards.endLease(shard);
		await archive();
		const place = await placeNow();
		thaw(sleeper.pid);
		expect(await sleeper.finish()).toBe("end LockLost");
		expect(await placeNow()).toEqual(place);
		await expectArchived(before);
	});
});

/** Clusters of a mover that falls asleep when it is about to look for earlier copies: it renews nothing either, and wakes when told to. */
function sleepyClusters() {
	const [asleep, awake] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
	let sleeps = false;
	const command = async (cluster: Cluster, database: string, order: Document) => {
		if (order.listCollections === 1 && database === archiveDatabase(shard)) {
			sleeps = true;
			asleep.resolve();
			await awake.promise;
		}
		if (sleeps && order.findAndModify === "leases") throw new Error("asleep");
		return cluster.command(database, order);
	};
	const sleepy = (cluster: Cluster) =>
		({
			name: cluster.name,
			command: (database: string, order: Document) => command(cluster, database, order),
			read: (database: string, order: Document) => command(cluster, database, order),
			readRaw: cluster.readRaw.bind(cluster),
			watch: cluster.watch.bind(cluster),
		}) as unknown as Cluster;
	const all = (some: ReadonlyMap<string, Cluster>) => new Map([...some].map(([name, one]) => [name, sleepy(one)]));
	const [service, archive] = [all(clusters.service), all(clusters.archive)];
	const at = (name: string) => service.get(name) ?? archive.get(name);
	const { meta } = clusters;
	const unmoved = { learn: () => undefined, isRetiring: () => false };
	return { clusters: { service, archive, at, meta, ...unmoved } as unknown as Clusters, asleep, awake };
}

describe("a mover that sleeps before it has found an earlier copy, and wakes after another has archived the month", () => {
	test.each([{ fresh: false }, { fresh: true }])("leaves the archive alone: %o", async ({ fresh }) => {
		const before = await atSource();
		const cut = archive({ pace: () => Promise.reject(new Error("cut off")) });
		await expect(cut).rejects.toThrow("cut off");
		const { clusters: theirs, asleep, awake } = sleepyClusters();
		const sleeper = archiveMonth(deps({ clusters: theirs }), work({ fresh })).next();
		await asleep.promise;
		await shards.endLease(shard);
		await archive();
		awake.resolve();
		await expect(sleeper).rejects.toMatchObject({ name: "LockLost" });
		await expectArchived(before);
	});
});

test("who takes a copy over has it alone: late commands of its earlier filler are answered that it moved", async () => {
	const sleeper = startMover(servers, { shard, month: MONTH });
	await sleeper.until("copied");
	const { collectionName } = await copyNow();
	const info = await infoOf("a0", archiveDatabase(shard), collectionName);
	const uuid = info?.info?.uuid?.toString("hex") ?? "";
	const old: Target = {
		cluster: "a0",
		database: archiveDatabase(shard),
		collection: collectionName,
		uuid,
		tier: "archive",
	};
	await sleeper.kill();
	await shards.endLease(shard);
	const isMovedForOld = () =>
		expect(insertInto(clusters, old, [{ _id: Buffer.alloc(20) }])).rejects.toMatchObject({ code: 361 });
	// The final name would answer so, too: what counts is the time from the takeover on.
	await archive({}, async (step) => {
		if (step === "copied") await isMovedForOld();
	});
	await isMovedForOld();
});

test("two movers at once: one does it, the other is told that the shard is busy", async () => {
	const before = await atSource();
	await archive({}, async (step) => {
		if (step === "copied") await expect(archive()).rejects.toMatchObject({ name: "ShardBusy" });
	});
	await expectArchived(before);
});

test("an archive that stops answering in the middle leaves the month in the service tier, writable, and later all is done", async () => {
	const before = await atSource();
	const a0 = servers.mongods.a0?.pid ?? 0;
	try {
		const held = archive({}, async (step) => {
			if (step === "copied") await freeze(a0);
		});
		await expect(held).rejects.toMatchObject({ type: "UNAVAILABLE" });
	} finally {
		thaw(a0);
	}
	expect(await placeNow()).toEqual({ tier: "service", uuid: sourceOf().uuid });
	const { _id } = rows[0] as Slot;
	expect(await updateOne(clusters, sourceOf(), { _id }, [{ $set: { sentinel: true } }, { $unset: "sentinel" }])).toBe(
		true,
	);
	await archive();
	await expectArchived(before);
});

test("a fence that nobody alive stands for is lifted, and one of a living mover is not", async () => {
	const mover = startMover(servers, { shard, month: MONTH });
	await mover.until("fenced");
	expect((await liftDeadFences(deps())).lifted).toEqual([]);
	await mover.kill();
	await shards.endLease(shard);
	const { _id } = rows[0] as Slot;
	await expect(updateOne(clusters, sourceOf(), { _id }, { $set: { hidden: true } })).rejects.toThrow("alarms_");
	const lifted = await eventually(async () => {
		const round = await liftDeadFences(deps());
		return round.lifted.length > 0 && round.lifted;
	});
	expect(lifted).toEqual([`${shardDatabase(shard)}.${alarmsOf(MONTH)}`]);
	expect(await placeNow()).toEqual({ tier: "service", uuid: sourceOf().uuid });
	expect(await updateOne(clusters, sourceOf(), { _id }, { $set: { hidden: true } })).toBe(true);
	// One that a mover set who had slept: the map knows nothing of it.
	await setFence(clusters, sourceOf());
	expect((await liftDeadFences(deps())).lifted).toHaveLength(1);
	expect((await liftDeadFences(deps())).lifted).toEqual([]);
});

test("what slips through a fence that was lifted from under its mover is in the archive, too", async () => {
	const { _id } = rows.find((row) => "userId" in row) as Slot;
	await archive({}, async (step) => {
		if (step !== "drained") return;
		const { dbName, collectionName } = await shards.inMonth(_id);
		await shards.cluster(serviceCluster()).db(dbName).command({ collMod: collectionName, validator: {} });
		await updateOne(clusters, sourceOf(), { _id }, [{ $set: { readAt: realNow() } }]);
	});
	const kept = await atSource(retainedArchiveOf(MONTH));
	expect(kept.find((row) => row.includes(_id))?.includes("readAt")).toBe(true);
	await expectArchived(kept);
});

test("a source is dropped when its grace time is over, and an archived month when it is asked for; each leaves the map", async () => {
	await expect(dropMonth(deps(), work())).rejects.toMatchObject({ code: "NOT_ARCHIVED" });
	await archive();
	const hours = 3_600_000;
	await expect(dropMonth(deps(), work())).rejects.toMatchObject({ code: "NOT_ARCHIVED" });
	expect(await dropRetainedArchives(deps(), hours)).toEqual({ dropped: [], errors: [] });
	expect(await atSource(retainedArchiveOf(MONTH))).toHaveLength(rows.length);
	const later = deps({ nowMs: () => realNowMs() + hours });
	expect((await dropRetainedArchives(later, hours)).dropped).toContain(alarmsOf(MONTH));
	expect(await atSource(retainedArchiveOf(MONTH))).toEqual([]);
	expect((await placeNow())?.retained).toBeUndefined();
	expect(await inArchive()).toHaveLength(rows.length);
	await dropMonth(deps(), work());
	expect(await infoOf("a0", archiveDatabase(shard), alarmsOf(MONTH))).toBeUndefined();
	expect(await placeNow()).toBeUndefined();
	await dropMonth(deps(), work());
});

test("a source is kept, however old, while its copy is not where the map says, or nobody can tell", async () => {
	await archive();
	const later = deps({ nowMs: () => realNowMs() + 86_400_000 });
	const whatOf = async () => {
		const { errors } = await dropRetainedArchives(later, 0);
		expect(await placeNow()).toHaveProperty("retained");
		return errors.map(String).join();
	};
	await freeze(servers.mongods.a0?.pid ?? 0);
	try {
		expect(await whatOf()).toContain("does not answer");
	} finally {
		thaw(servers.mongods.a0?.pid ?? 0);
	}
	const name = `${archiveDatabase(shard)}.${alarmsOf(MONTH)}`;
	const rename = (renameCollection: string, to: string) =>
		shards.cluster("a0").db("admin").command({ renameCollection, to });
	await rename(name, `${name}_lost`);
	expect(await whatOf()).toContain(`${name} is not on a0 as the routing map knows it`);
	expect(await atSource(retainedArchiveOf(MONTH))).toHaveLength(rows.length);
	await rename(`${name}_lost`, name);
	expect((await dropRetainedArchives(later, 0)).dropped).toContain(alarmsOf(MONTH));
});

test("the newest stored alarm is found although an archive does not answer", async () => {
	await archive();
	const month = addMonths(MONTH, 1);
	const row = rowIn(month, "newest", 7);
	await putRows(clusters, map, 31, month, [row]);
	const own = new Clusters(configOf(servers, { LOGICAL_SHARDS: "32" }));
	await freeze(servers.mongods.a0?.pid ?? 0);
	try {
		const { newestMs } = await gatherFacts(own, await newestMap(own), { nowMs: realNowMs(), isReal: false });
		expect(newestMs).toBe(idTimeMs(row._id));
	} finally {
		thaw(servers.mongods.a0?.pid ?? 0);
		await own.close();
	}
});

test("a source that was not found equal after the switch is kept, however old", async () => {
	const mover = startMover(servers, { shard, month: MONTH });
	await mover.until("renamed");
	await mover.kill();
	await shards.endLease(shard);
	const later = deps({ nowMs: () => realNowMs() + 86_400_000 });
	const kept = await eventually(async () => {
		const { dropped } = await dropRetainedArchives(later, 0);
		return (await newestMap(clusters)).shards[shard]?.lock === undefined || !dropped.includes(alarmsOf(MONTH));
	});
	expect(kept).toBe(true);
	expect(await atSource(retainedArchiveOf(MONTH))).toHaveLength(rows.length);
});

test("the current month and the next are neither archived nor dropped, whoever asks", async () => {
	for (const month of [realMonth(), realMonth(1)]) {
		const run = archiveMonth(deps(), { ...work(), month });
		await expect(run.next()).rejects.toMatchObject({ code: "MONTH_TOO_YOUNG" });
		await expect(dropMonth(deps(), { ...work(), month })).rejects.toMatchObject({ code: "MONTH_TOO_YOUNG" });
	}
});
