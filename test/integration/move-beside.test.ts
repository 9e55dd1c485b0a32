import type { Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { newAlarmId, userHash } from "../../domain/alarms/ids.ts";
import type { Slot } from "../../domain/alarms/rows.ts";
import { alarmsOf, movedName, retainedArchiveOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { monthsDue } from "../../domain/routing/months.ts";
import { shardTarget, type Target } from "../../domain/routing/routing.ts";
import { eraseCustomer } from "../../jobs/erase-customer.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { cancelMove } from "../../jobs/migrate/cancel-move.ts";
import { dropRetainedArchives } from "../../jobs/migrate/drop-archived-source.ts";
import { dropRetainedMoves } from "../../jobs/migrate/drop-moved-source.ts";
import type { MoveStep } from "../../jobs/migrate/migration.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import { findFailure, forgetFailure } from "../../stores/failures/failures.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { insertInto, updateOne } from "../../stores/mongo/commands.ts";
import { publishLowWatermark } from "../../stores/routing/low-watermark.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { ensureCollections } from "../../stores/routing/provision.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { customersOf, fillMonth } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { behindMonthEnd, realMonth, realNow, realNowMs } from "../support/now.ts";
import type { TestServers } from "../support/servers.ts";
import { rowsOn, withoutLeft } from "../support/shard-rows.ts";
import type { TestShards } from "../support/shards.ts";

/** A move of a shard beside all that may happen to it meanwhile: other runs, routers, time, and a meta database that stands still. */

const MONTH = realMonth(-1);
const SHARDS = 32;
const HOUR_MS = 3_600_000;

let databases: Databases;
let servers: TestServers;
let clusters: Clusters;
let shards: TestShards;
/** Each test has a shard of its own; shards with an even number begin on c0. */
let shard = -2;
let map: RoutingMap;
let rows: Slot[];

beforeAll(async () => {
	databases = await startDatabases(SHARDS, MONTH, { metaApart: true });
	({ servers, clusters, shards } = databases);
	await publishLowWatermark(clusters, realNowMs());
});
afterAll(() => databases?.stop());
beforeEach(async () => {
	shard += 2;
	map = await newestMap(clusters);
	rows = await fillMonth(clusters, map, shard, MONTH);
});

const placeNow = async () => (await newestMap(clusters)).shards[shard];
const at = (name: string) => shardTarget(map, shard, name) as Target;
const rowsAt = (cluster: string, nameOf?: (name: string) => string) => rowsOn(shards, shard, cluster, nameOf);
const databaseOn = (cluster: string) => shards.cluster(cluster).db(shardDatabase(shard));
const namesOn = async (cluster: string) =>
	(await databaseOn(cluster).listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);
const incomingOn = async (cluster: string) =>
	(await namesOn(cluster)).filter((name) => movedName(name)?.kind === "incoming");
const later = (ms: number) => moveDeps(clusters, "later", { nowMs: () => realNowMs() + ms });

type During = (step: MoveStep) => Promise<unknown> | unknown;

async function move(during: During = () => undefined) {
	for await (const step of moveShard(moveDeps(clusters, "test"), { run: "r", shard, to: "c1" })) await during(step);
}

/** A process that stops there. */
async function moveUntil(last: MoveStep): Promise<void> {
	for await (const step of moveShard(moveDeps(clusters, "test"), { run: "r", shard, to: "c1" }))
		if (step === last) break;
}

async function expectMoved(before: Awaited<ReturnType<typeof rowsAt>>): Promise<void> {
	expect(await placeNow()).toMatchObject({ cluster: "c1", retained: [{ cluster: "c0", settled: true }] });
	expect(await rowsAt("c1")).toEqual(before);
	expect(await incomingOn("c1")).toEqual([]);
}

test("a meta database that stands still at the switch leaves the source fenced, so that nothing is written where nobody will look; then the move goes on", async () => {
	const before = await rowsAt("c0");
	const pid = servers.mongods.m0?.pid ?? 0;
	const cut = move((step) => (step === "drained" ? freeze(pid) : undefined));
	try {
		await expect(cut).rejects.toMatchObject({ type: "UNAVAILABLE" });
		const late = updateOne(clusters, at("users"), { _id: Buffer.alloc(20) }, { $set: { userId: "late" } }, true);
		await expect(late).rejects.toThrow();
	} finally {
		thaw(pid);
	}
	await shards.endLease(shard);
	await move();
	await expectMoved(before);
});

test("a month whose archiving was cut off behind its switch is brought to its end before its shard moves", async () => {
	for await (const step of archiveMonth(moveDeps(clusters, "test"), { run: "a", shard, month: MONTH }))
		if (step === "switched") break;
	await move();
	const month = alarmsOf(MONTH);
	expect((await placeNow())?.collections[month]).toMatchObject({ retained: { settled: true, cluster: "c0" } });
	expect(await namesOn("c0")).toContain(retainedArchiveOf(MONTH));
	expect((await dropRetainedMoves(later(2 * HOUR_MS), HOUR_MS)).errors).toEqual([]);
	expect(await dropRetainedArchives(later(2 * HOUR_MS), HOUR_MS)).toEqual({ dropped: [month], errors: [] });
	expect(await namesOn("c0")).toEqual([]);
});

test("a month that is archived while the move is paused leaves no copy at the target", async () => {
	await moveUntil("copied");
	expect((await incomingOn("c1")).join()).toContain(alarmsOf(MONTH));
	for await (const _ of archiveMonth(moveDeps(clusters, "test"), { run: "a", shard, month: MONTH }));
	const before = await rowsAt("c0", (name) => (name === retainedArchiveOf(MONTH) ? "retained_move_e0_archived" : name));
	await move();
	await expectMoved(before);
});

test("a failure that is forgotten inside the fence is not back at the new place", async () => {
	const [userId = ""] = customersOf(shard, 1, SHARDS);
	const [first, second] = [newAlarmId(userId, realNowMs() - 1_000), newAlarmId(userId, realNowMs())];
	const rowOf = (_id: Buffer) => ({ _id, code: "X", failedAt: realNow() });
	await insertInto(clusters, at("failures"), [rowOf(first), rowOf(second)]);
	await move(async (step) => {
		// One that says so before the fence, and deletes behind the last look at the source.
		if (step === "verified") await updateOne(clusters, at("failures"), { _id: first }, { $set: { forgotten: true } });
		if (step !== "drained") return;
		await databaseOn("c0").collection<Document & { _id: Buffer }>("failures").deleteOne({ _id: first });
		await expect(forgetFailure(clusters, map, second)).rejects.toThrow();
	});
	const now = await newestMap(clusters);
	expect(await findFailure(clusters, now, first)).toBeNull();
	expect(await findFailure(clusters, now, second)).toMatchObject({ code: "X" });
	await forgetFailure(clusters, now, second);
	expect(
		await databaseOn("c1")
			.collection("failures")
			.countDocuments({ forgotten: { $exists: false } }),
	).toBe(0);
});

test("empty collections that a router has made in vain, at the target and behind the switch, are in nobody's way", async () => {
	const before = await rowsAt("c0");
	await databaseOn("c1").createCollection("keys_2020_01_01");
	await move((step) => (step === "switched" ? databaseOn("c0").createCollection("keys_2020_01_02") : undefined));
	await expectMoved(before);
});

test("a move that was refused because of what stands at the target can be given up, and that stays", async () => {
	await databaseOn("c1").createCollection("users");
	await databaseOn("c1").collection("users").insertOne({ whose: "nobody's" });
	await expect(move()).rejects.toMatchObject({ code: "TARGET_NOT_EMPTY" });
	const canceled = cancelMove(moveDeps(clusters, "test"), { run: "r", shard, to: "c1" });
	expect(await canceled.next()).toEqual({ done: false, value: "taken" });
	expect(await canceled.next()).toEqual({ done: true, value: true });
	expect(await databaseOn("c1").collection("users").countDocuments()).toBe(1);
	expect((await placeNow())?.lock).toBeUndefined();
});

test("what a shard has left stays, however old, while the new place has not what it took: that server may have been replaced", async () => {
	await move();
	await databaseOn("c1").dropDatabase();
	const { dropped, errors } = await dropRetainedMoves(later(2 * HOUR_MS), HOUR_MS);
	expect(dropped.filter((name) => name.includes(shardDatabase(shard)))).toEqual([]);
	expect(errors.map(String).join()).toContain("was that server replaced or restored?");
	expect((await rowsAt("c0", withoutLeft))[alarmsOf(MONTH)]).toHaveLength(rows.length);
});

describe("a customer who is erased in the middle of a move", () => {
	test.each(["drained", "switched"] as const)("cut off after: %s", async (step) => {
		const [gone = ""] = customersOf(shard, 1, SHARDS);
		const isGone = ({ _id }: Document) => userHash(gone).equals(_id.subarray(0, 8));
		const traces = async () => {
			const found = await Promise.all(["alarms_", "incoming_", "retained_move_"].map((prefix) => shards.all(prefix)));
			return found.flat().filter((row) => Buffer.isBuffer(row._id) && isGone(row));
		};
		const mover = startMover(servers, { shard, to: "c1" });
		await mover.until(step);
		expect((await traces()).length).toBeGreaterThan(rows.filter(isGone).length);
		await mover.kill();
		await shards.endLease(shard);
		const deps = { ...moveDeps(clusters, "eraser"), onProgress: () => undefined, waitMs: 0 };
		const signal = new AbortController().signal;
		const work = { run: "e", userId: gone, startedAtMs: realNowMs() - HOUR_MS };
		for await (const _ of eraseCustomer({ ...deps, signal }, work));
		expect(await traces()).toEqual([]);
		await move();
		expect(await traces()).toEqual([]);
		expect((await rowsAt("c1"))[alarmsOf(MONTH)]).toHaveLength(rows.filter((row) => !isGone(row)).length);
	});
});

test("over midnight and a month's end, the move waits before its fence, and the next try goes on with the same copies", async () => {
	const then = behindMonthEnd(realNowMs());
	const places = (await placeNow())?.collections ?? {};
	const before = Object.keys(places);
	const steps: MoveStep[] = [];
	const cut = move(async (step) => {
		steps.push(step);
		if (step !== "verified") return;
		await publishLowWatermark(clusters, then);
		await ensureCollections(clusters, await newestMap(clusters), new Date(then));
	});
	await expect(cut).rejects.toMatchObject({ name: "Outgrown" });
	expect(steps.at(-1)).toBe("verified");
	const after = Object.keys((await placeNow())?.collections ?? {});
	const months = (names: string[]) => names.filter((name) => name.startsWith("alarms_")).sort();
	expect(months(after)).toEqual(monthsDue(places, then).map(alarmsOf));
	expect(months(after)).toHaveLength(months(before).length + 1);
	// Keys of a day that is over by then are gone.
	expect(before.filter((name) => !after.includes(name)).length).toBeGreaterThan(0);
	const copied = await databaseOn("c1")
		.listCollections({ name: /^incoming_.*alarms_/ })
		.toArray();
	await move();
	await expectMoved(await rowsAt("c0", withoutLeft));
	const moved = await databaseOn("c1").listCollections().toArray();
	const uuids = (found: Document[]) => found.map(({ info }) => info.uuid.toString("hex"));
	expect(uuids(moved)).toEqual(expect.arrayContaining(uuids(copied)));
});
