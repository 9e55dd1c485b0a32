import type { Document } from "mongodb";
import type { RoutingMap } from "../../contracts/routing.ts";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId, shardOf } from "../../domain/alarms/ids.ts";
import type { FailureRow, Slot } from "../../domain/alarms/rows.ts";
import { type Decision, triage } from "../../domain/alarms/triage.ts";
import { monthOf } from "../../domain/time/periods.ts";
import { type IntakeDeps, takeIn } from "../../stores/alarms/insert-alarms.ts";
import { redriveOne } from "../../stores/failures/redrive.ts";
import { CircuitBreakers } from "../../stores/mongo/circuit-breakers.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { CachedDocument } from "../../stores/routing/cached-document.ts";
import { ensureCollections, ensureMap, MAP_ID } from "../../stores/routing/provision.ts";
import { archiveMonth, dropMonth, restoreMonth } from "../support/archived.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";

/** Alarms that come when their month is archived or gone, seen from a worker's round and from a redrive. */

const NOW = "2026-12-01T00:00:10.000Z";
const NOW_MS = Date.parse(NOW);
const OLD_MS = Date.parse("2026-10-05T12:00:00.000Z");
const OCTOBER = "2026_10";

let servers: TestServers;
let shards: TestShards;
let clusters: Clusters;
let routing: CachedDocument<RoutingMap>;
const errors: unknown[] = [];
const onError = (error: unknown) => errors.push((error as Error).stack);

beforeAll(async () => {
	servers = await startServers(["c0", "a0"]);
	shards = new TestShards(servers);
	clusters = new Clusters(configOf(servers));
	let map = await ensureMap(clusters, 2, new Date("2026-09-01T00:00:00Z"));
	for (const day of ["2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z", "2026-11-30T00:00:00Z", NOW])
		({ map } = await ensureCollections(clusters, map, new Date(day)));
	routing = new CachedDocument<RoutingMap>(clusters, MAP_ID, { onError });
	await routing.start();
});
afterAll(async () => {
	routing?.stop();
	await clusters?.close();
	await shards?.close();
	await servers?.stop();
});
afterEach(() => expect(errors.splice(0)).toEqual([]));

/** A worker that has met no silence yet. */
function freshWorker(): IntakeDeps {
	const pace = { rows: 1_000, inserts: 16, yieldTo: () => Promise.resolve() };
	const breaker = new CircuitBreakers().ofRounds.realtime;
	const nowMs = () => NOW_MS;
	return { clusters, routing, lane: "realtime", breaker, pace, onSlow: () => undefined, nowMs, onError };
}

const AT = { lane: "realtime", streamTimeMs: NOW_MS, sequence: 1, index: 0 } as const;
const USER = "late";
const SHARD = shardOf(newAlarmId(USER, 0), 2);
const archiveOf = () => shards.cluster("a0").db(`alarm_a0${SHARD}`);
const archive = (month = OCTOBER, onSwitched?: () => Promise<unknown>) =>
	archiveMonth(clusters, SHARD, month, onSwitched);
const restore = (month = OCTOBER) => restoreMonth(clusters, SHARD, month);

function decided(timeMs: number, more: object = {}, acceptedAtMs = timeMs): Decision {
	const id = newAlarmId(USER, timeMs);
	const queued = {
		producer: "demo",
		acceptedAtMs,
		alarm: { userId: USER, category: "card", title: "t", body: "b", ...more },
	};
	return triage({ id, queued, line: encodeItem(id, queued).line }, NOW_MS, AT);
}
const old = (n = 0) => decided(OLD_MS + n);
const fresh = () => decided(NOW_MS);
const tombstone = ({ id }: Decision): Slot => ({
	_id: id,
	outcome: "failed",
	why: { code: "STORE_REJECTED", message: "m" },
	producer: "demo",
	at: new Date(OLD_MS),
});
const put = async (slot: Slot) => (await shards.inMonth(slot._id)).insertOne(slot);
/** With a map that may be old: as often as it comes again. */
const untilSafe = (decision: Decision) =>
	eventually(async () => {
		const [outcome] = await takeIn(freshWorker(), [decision]);
		return outcome?.safe && outcome;
	}, "the alarm to be safe");

describe("a worker", () => {
	afterEach(async () => {
		await routing.reload();
		const place = routing.current.shards[SHARD]?.collections[`alarms_${OCTOBER}`];
		if (place?.tier === "archive") await restore();
		await routing.reload();
	});

	test("finds in the archive what is there: taken, or a failure whose row is made up for; the rest fails as MONTH_CLOSED", async () => {
		const [there, failed, missing, missed] = [old(1), old(2), old(3), old(4)] as [
			Decision,
			Decision,
			Decision,
			Decision,
		];
		await put(there.slot);
		await put(tombstone(failed));
		await archive();
		await routing.reload();
		const before = await archiveOf().collection(`alarms_${OCTOBER}`).countDocuments();
		expect(await takeIn(freshWorker(), [there, failed, missing, missed, fresh()])).toEqual([
			{ safe: true, as: "duplicate", isNew: false },
			{ safe: true, as: "failed", isNew: true },
			{ safe: true, as: "failed", isNew: true },
			{ safe: true, as: "failed", isNew: true },
			{ safe: true, as: "stored", isNew: true },
		]);
		expect(await shards.failure(there.id)).toBeNull();
		expect(await shards.failure(failed.id)).toMatchObject({ code: "STORE_REJECTED", message: "m", item: failed.line });
		expect(await shards.failure(missing.id)).toMatchObject({ code: "MONTH_CLOSED", item: missing.line, userId: USER });
		expect(await archiveOf().collection(`alarms_${OCTOBER}`).countDocuments()).toBe(before);
		const again = await takeIn(freshWorker(), [there, missing]);
		expect(again.map((one) => one.safe && [one.as, one.isNew])).toEqual([
			["duplicate", false],
			["failed", false],
		]);
	});

	test("with a map from before the switch makes no month again and loses nothing", async () => {
		await routing.reload();
		await archive();
		const late = old(10);
		expect(await takeIn(freshWorker(), [late])).toMatchObject([{ safe: false }]);
		expect(await untilSafe(late)).toEqual({ safe: true, as: "failed", isNew: true });
		const home = shards.cluster("c0").db(`alarm_s0${SHARD}`);
		expect(await home.listCollections({ name: `alarms_${OCTOBER}` }).toArray()).toEqual([]);
		expect(await home.collection(`retained_archive_${OCTOBER}`).findOne({ _id: late.id as never })).toBeNull();
	});

	test("stores into a month that moves, and waits while it is fenced and its map says nothing else yet", async () => {
		const [moving, fenced] = [old(20), old(21)];
		const fence = await shards.fence(fenced.id);
		expect(await takeIn(freshWorker(), [fenced])).toMatchObject([
			{ safe: false, why: expect.stringContaining("fenced") },
		]);
		await fence.lift();
		const { current } = routing;
		const map = structuredClone(current);
		const place = map.shards[SHARD]?.collections[`alarms_${OCTOBER}`];
		if (place) place.tier = "moving";
		routing.take({ ...map, version: current.version + 1 });
		expect(await takeIn(freshWorker(), [moving])).toMatchObject([{ as: "stored" }]);
		expect(await redrive(moving.id)).toMatchObject({ result: "not_failed" });
		// The next change of the map has this number, too.
		await clusters.meta.command("alarm_meta", {
			update: "documents",
			updates: [{ q: { _id: MAP_ID }, u: { $inc: { version: 1, "body.version": 1 } } }],
		});
	});

	test("leaves a late alarm aside while the archive stands still, and the shard's own cluster is none the worse", async () => {
		const late = old(30);
		await put(late.slot);
		await archive();
		await routing.reload();
		const worker = freshWorker();
		await freeze(servers.mongods.a0?.pid ?? 0);
		try {
			expect(await takeIn(worker, [late, fresh()])).toMatchObject([{ safe: false }, { as: "stored" }]);
			expect(await takeIn(worker, [fresh(), late])).toMatchObject([{ as: "stored" }, { safe: false }]);
			expect([worker.breaker.isPromising("a0"), worker.breaker.isPromising("c0")]).toEqual([false, true]);
			expect(await shards.failure(late.id)).toBeNull();
		} finally {
			thaw(servers.mongods.a0?.pid ?? 0);
		}
		expect(await untilSafe(late)).toMatchObject({ as: "duplicate" });
	});

	test("leaves it aside, too, while its failure row cannot be written, and the archive is none the worse", async () => {
		const late = old(40);
		await archive();
		await routing.reload();
		const worker = freshWorker();
		await freeze(servers.mongods.c0?.pid ?? 0);
		try {
			expect(await takeIn(worker, [late])).toMatchObject([{ safe: false }]);
			expect([worker.breaker.isPromising("a0"), worker.breaker.isPromising("c0")]).toEqual([true, false]);
		} finally {
			thaw(servers.mongods.c0?.pid ?? 0);
		}
		expect(await untilSafe(late)).toMatchObject({ as: "failed" });
	});
});

const redrive = (id: Buffer) =>
	redriveOne({ clusters, routing, producer: null, nowMs: () => NOW_MS, onError }, routing.current, id);

describe("a redrive of one whose month is archived", () => {
	const [stored, failed, missing] = [old(50), old(51), decided(OLD_MS + 52, { idempotencyKey: "k" }, NOW_MS)];
	const rowOf = ({ id, line }: Decision): FailureRow => ({
		_id: id,
		code: "CLOCK_SKEW",
		message: "m",
		producer: "demo",
		userId: USER,
		lane: "realtime",
		item: line,
		failedAt: new Date(OLD_MS),
	});

	beforeAll(async () => {
		await put(stored.slot);
		await put(tombstone(failed));
		const failures = await shards.inMonth(stored.id, "failures");
		await failures.insertMany([stored, failed, missing].map(rowOf) as (Document & { _id: Buffer })[]);
		await archive();
		await routing.reload();
	});
	afterAll(() => restore());

	test("waits while the archive stands still; those of other months are redriven", async () => {
		await freeze(servers.mongods.a0?.pid ?? 0);
		try {
			expect(await redrive(stored.id)).toMatchObject({
				result: "unavailable",
				why: expect.stringContaining("archive"),
			});
			expect(await redrive(newAlarmId(USER, NOW_MS))).toMatchObject({ result: "unknown" });
		} finally {
			thaw(servers.mongods.a0?.pid ?? 0);
		}
		await eventually(async () => (await redrive(missing.id)).result !== "unavailable", "the archive back");
	});

	test("is not failed when it stands there, and its row is taken away", async () => {
		expect(await redrive(stored.id)).toMatchObject({ result: "not_failed" });
		expect(await shards.failure(stored.id)).toBeNull();
	});

	test("stays failed when the archive says so, with the cause that it had", async () => {
		expect(await redrive(failed.id)).toMatchObject({ result: "failed", why: expect.stringMatching(/^MONTH_CLOSED: /) });
		expect(await shards.failure(failed.id)).toMatchObject({ code: "CLOCK_SKEW" });
	});

	test("is MONTH_CLOSED when it has no slot; no key is claimed for it", async () => {
		expect(await redrive(missing.id)).toMatchObject({
			result: "failed",
			why: expect.stringMatching(/^MONTH_CLOSED: /),
		});
		expect(await shards.failure(missing.id)).toMatchObject({ code: "MONTH_CLOSED" });
		expect(await (await shards.inMonth(missing.id, "keys_2026_12_01")).countDocuments()).toBe(0);
		expect(
			await archiveOf()
				.collection(`alarms_${OCTOBER}`)
				.findOne({ _id: missing.id as never }),
		).toBeNull();
	});
});

describe("an idempotency key whose later request lies in an archived month", () => {
	const DECEMBER = "2026_12";
	// Of the day and the month before, which is in service: by hand months are archived in any order.
	const first = (idempotencyKey: string) => decided(NOW_MS - 11_000, { idempotencyKey });
	const later = (idempotencyKey: string) => decided(NOW_MS - 5_000, { idempotencyKey });

	beforeAll(async () => {
		expect(await takeIn(freshWorker(), [later("stored"), later("silent"), later("lost")])).toMatchObject(
			Array(3).fill({ as: "stored" }),
		);
		const month = await shards.inMonth(newAlarmId(USER, NOW_MS));
		// It had its key, and its worker died before the slot.
		await month.deleteOne({ idempotencyKey: "lost" });
		await archive(DECEMBER);
		await routing.reload();
	});
	afterAll(() => restore(DECEMBER));

	test("is met where it is: stored in the archive, it is the alarm", async () => {
		const one = first("stored");
		expect(await takeIn(freshWorker(), [one])).toMatchObject([{ as: "stored" }]);
		expect(await shards.slot(one.id)).toMatchObject({ outcome: "duplicate" });
	});

	test("and that never came to be anything there, never will: the first is the alarm, and nothing is put into the archive", async () => {
		const before = await archiveOf().collection(`alarms_${DECEMBER}`).countDocuments();
		const one = first("lost");
		expect(await takeIn(freshWorker(), [one])).toMatchObject([{ as: "stored" }]);
		expect(await shards.slot(one.id)).toMatchObject({ userId: USER });
		expect(await archiveOf().collection(`alarms_${DECEMBER}`).countDocuments()).toBe(before);
	});

	test("is waited for while the archive stands still, and it alone", async () => {
		const worker = freshWorker();
		const [one, other] = [first("silent"), decided(NOW_MS - 12_000)];
		await freeze(servers.mongods.a0?.pid ?? 0);
		try {
			expect(await takeIn(worker, [one, other])).toMatchObject([{ safe: false }, { as: "stored" }]);
			expect(worker.breaker.isPromising("c0")).toBe(true);
		} finally {
			thaw(servers.mongods.a0?.pid ?? 0);
		}
		expect(await untilSafe(one)).toMatchObject({ as: "stored" });
		expect(await shards.slot(one.id)).toMatchObject({ outcome: "duplicate" });
	});
});

test("a month that was dropped from the archive is closed for good, and the router makes it no more", async () => {
	await archive("2026_09");
	await routing.reload();
	await dropMonth(clusters, SHARD, "2026_09");
	const late = decided(Date.parse("2026-09-05T00:00:00Z"));
	expect(await takeIn(freshWorker(), [late])).toMatchObject([{ safe: false }]);
	expect(await untilSafe(late)).toMatchObject({ as: "failed" });
	expect(await shards.failure(late.id)).toMatchObject({ code: "MONTH_CLOSED" });
	for (const at of [NOW, "2026-09-20T00:00:00Z", "2025-11-20T00:00:00Z"]) {
		const { map, errors } = await ensureCollections(clusters, await shards.map(), new Date(at));
		expect(errors).toEqual([]);
		const months = Object.keys(map.shards[SHARD]?.collections ?? {}).filter((name) => name.startsWith("alarms_"));
		expect(months.sort()[0]).toBe(`alarms_${monthOf(OLD_MS)}`);
	}
});
