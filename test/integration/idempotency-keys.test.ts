import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import type { RoutingMap } from "../../contracts/routing.ts";
import { shardOf, showId } from "../../domain/alarms/ids.ts";
import { withChange } from "../../domain/routing/routing.ts";
import { dayOf, dayStartMs } from "../../domain/time/periods.ts";
import { type IntakeDeps, takeIn } from "../../stores/alarms/insert-alarms.ts";
import { CircuitBreakers } from "../../stores/mongo/circuit-breakers.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { CachedDocument } from "../../stores/routing/cached-document.ts";
import { ensureCollections, ensureMap, MAP_ID } from "../../stores/routing/provision.ts";
import { replaceDocument } from "../../stores/routing/versioned-documents.ts";
import { type Contender, contender, deliver, everyOrder, redeliver, resolve } from "../support/contenders.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";

// Just after a midnight that is also a month's end: the slots of the two days lie in two months.
const NOW = "2026-12-01T00:00:10.000Z";
const NOW_MS = Date.parse(NOW);
const BEFORE_MIDNIGHT = "2026-11-30T23:59:59.000Z";
const AFTER_MIDNIGHT = "2026-12-01T00:00:05.000Z";

let servers: TestServers;
let shards: TestShards;
let clusters: Clusters;
let routing: CachedDocument<RoutingMap>;
let deps: IntakeDeps;
const errors: unknown[] = [];

beforeAll(async () => {
	servers = await startServers(["c0"]);
	shards = new TestShards(servers);
	clusters = new Clusters(configOf(servers));
	const onError = (error: unknown) => errors.push((error as Error).stack);
	let map = await ensureMap(clusters, 2, new Date("2026-11-28T00:00:00Z"));
	for (const day of ["2026-11-28T00:00:00Z", "2026-11-30T00:00:00Z", NOW]) {
		({ map } = await ensureCollections(clusters, map, new Date(day)));
	}
	routing = new CachedDocument<RoutingMap>(clusters, MAP_ID, { onError });
	await routing.start();
	const breaker = new CircuitBreakers().ofRounds.bulk;
	const pace = { rows: 1_000, inserts: 1, yieldTo: () => Promise.resolve() };
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
	await shards?.close();
	await servers?.stop();
});
afterEach(() => expect(errors.splice(0)).toEqual([]));

let users = 0;
const freshUser = () => `u${++users}`;
const slotsOf = async (all: Contender[]) => {
	const slots = await Promise.all(all.map(({ id }) => shards.slot(id)));
	return slots.filter((slot) => slot !== null);
};

/** Runs the steps of two deliveries in the order of `order`, then lets both come again. */
async function contend(order: string, a: Contender, b: Contender): Promise<void> {
	const runs = { a: deliver(deps, a), b: deliver(deps, b) };
	for (const name of order) await runs[name as "a" | "b"].next();
	// Who comes again first must not matter: half of the orders try it the other way round.
	const again = order.length % 2 === 0 ? [a, b] : [b, a];
	for (const one of again) await redeliver(deps, one);
}

/** Many orders side by side, each with a customer of its own; tells the orders that end as they must not. */
async function wrongOrders(
	orders: string[],
	times: [string, string],
	otherBody: boolean,
	verdictOf: (all: Contender[]) => Promise<string | null>,
): Promise<string[]> {
	const wrong: string[] = [];
	const waiting = orders.values();
	const hand = async () => {
		for (const order of waiting) {
			const userId = freshUser();
			const a = contender(userId, times[0], NOW_MS);
			const b = contender(userId, times[1], NOW_MS, otherBody ? { title: "other" } : {});
			await contend(order, a, b);
			const verdict = await verdictOf([a, b]);
			if (verdict !== null) wrong.push(`${order}: ${verdict}`);
			await turn();
		}
	};
	await Promise.all(Array.from({ length: 16 }, hand));
	return wrong;
}

async function oneAlarm(all: Contender[]): Promise<string | null> {
	const slots = await slotsOf(all);
	const { alarms, ends } = resolve(slots);
	const isRight = slots.length === 2 && alarms.length === 1 && ends.every((end) => end === alarms[0]);
	return isRight ? null : JSON.stringify(slots);
}

async function oneAlarmOneConflict(all: Contender[]): Promise<string | null> {
	const slots = await slotsOf(all);
	const failures = (await Promise.all(all.map(({ id }) => shards.failure(id)))).filter((row) => row !== null);
	const { alarms } = resolve(slots);
	const lost = slots.find(({ outcome }) => outcome === "failed");
	const isRight =
		alarms.length === 1 &&
		lost?.why.code === "IDEMPOTENCY_CONFLICT" &&
		showId(lost.of) === alarms[0] &&
		failures.length === 1 &&
		failures[0]?._id.equals(lost._id) &&
		failures[0]?.code === "IDEMPOTENCY_CONFLICT";
	return isRight ? null : JSON.stringify({ slots, failures });
}

const AROUND_MIDNIGHT: [string, string] = [BEFORE_MIDNIGHT, AFTER_MIDNIGHT];
const ON_ONE_DAY: [string, string] = [BEFORE_MIDNIGHT, "2026-11-30T23:59:59.500Z"];

describe("two requests with one key, in every order of their steps, each crashing after any of them", () => {
	test.each([
		["around midnight and the month's end", AROUND_MIDNIGHT],
		["on one day", ON_ONE_DAY],
	])("%s: one alarm, and the other is its duplicate", async (_, times) => {
		expect(await wrongOrders(everyOrder(), times, false, oneAlarm)).toEqual([]);
	});

	test.each([
		["around midnight and the month's end", AROUND_MIDNIGHT],
		["on one day", ON_ONE_DAY],
	])("with other content, %s: one alarm, and one failure that names it", async (_, times) => {
		expect(await wrongOrders(everyOrder(), times, true, oneAlarmOneConflict)).toEqual([]);
	});
});

const DAYS = ["2026-11-28", "2026-11-29", "2026-11-30", "2026-12-01"];

test("any requests with one key, on four days, delivered in any order, often, and torn apart: alarms lie two days apart", async () => {
	const days = fc.array(fc.constantFrom(...DAYS), { minLength: 2, maxLength: 5 });
	// Each entry lets one of two deliveries of one request go a step further: the other may have been frozen, and wakes.
	const schedule = fc.array(fc.record({ who: fc.nat(4), which: fc.nat(1) }), { maxLength: 50 });
	const property = fc.asyncProperty(days, schedule, async (on, steps) => {
		const userId = freshUser();
		const all = on.map((day) => contender(userId, `${day}T00:00:05.000Z`, NOW_MS));
		await runSchedule(all, steps);
		for (const one of all) await redeliver(deps, one);
		const { alarms, ends } = resolve(await slotsOf(all));
		expect(ends).toHaveLength(all.length);
		for (const end of ends) expect(alarms).toContain(end);
		const alarmDays = all.filter(({ id }) => alarms.includes(showId(id))).map(({ acceptedAtMs }) => acceptedAtMs);
		expect(leastDistanceDays(alarmDays)).toBeGreaterThanOrEqual(2);
	});
	// Side by side, each with a seed of its own: one by one they would mostly wait for the journal.
	await Promise.all(Array.from({ length: 6 }, () => fc.assert(property, { numRuns: 50 })));
});

async function runSchedule(all: Contender[], steps: { who: number; which: number }[]): Promise<void> {
	const runs = all.map((one) => [deliver(deps, one), deliver(deps, one)]);
	for (const { who, which } of steps) {
		const at = who % all.length;
		const ofOne = runs[at] ?? [];
		// What has ended is delivered once more.
		if ((await ofOne[which]?.next())?.done) ofOne[which] = deliver(deps, all[at] as Contender);
	}
}

function leastDistanceDays(timesMs: number[]): number {
	const starts = timesMs.map((timeMs) => dayStartMs(dayOf(timeMs))).sort((one, other) => one - other);
	const gaps = starts.slice(1).map((start, at) => (start - (starts[at] ?? 0)) / 86_400_000);
	return Math.min(...gaps, Number.POSITIVE_INFINITY);
}

test("a key that is used every day makes an alarm every other day", async () => {
	const userId = freshUser();
	const all = DAYS.map((day) => contender(userId, `${day}T00:00:05.000Z`, NOW_MS));
	for (const one of all) await takeIn(deps, [one.decide()]);
	const slots = await slotsOf(all);
	expect(slots.map(({ outcome }) => outcome ?? "alarm")).toEqual(["alarm", "duplicate", "alarm", "duplicate"]);
	expect(slots[3]?.of.equals(slots[2]?._id)).toBe(true);
});

test("a stored alarm that comes again after a late request of the day before stays what it is, and keeps the day after away", async () => {
	const userId = freshUser();
	const late = contender(userId, "2026-11-29T23:59:59.000Z", NOW_MS);
	const stored = contender(userId, "2026-11-30T23:59:59.000Z", NOW_MS);
	const after = contender(userId, AFTER_MIDNIGHT, NOW_MS);
	for (const one of [stored, late, stored, after]) await takeIn(deps, [one.decide()]);
	const { alarms, ends } = resolve(await slotsOf([late, stored, after]));
	expect(alarms).toEqual([showId(stored.id)]);
	expect(new Set(ends)).toEqual(new Set(alarms));
});

test("requests of both sides of midnight in one round meet each other", async () => {
	const userId = freshUser();
	const all = [BEFORE_MIDNIGHT, AFTER_MIDNIGHT].map((at) => contender(userId, at, NOW_MS));
	await takeIn(
		deps,
		all.map((one) => one.decide()),
	);
	expect(await oneAlarm(all)).toBeNull();
});

test("a nightly batch that is sent again the next night becomes duplicates, all in one round", async () => {
	const userId = freshUser();
	const night = (at: string) =>
		Array.from({ length: 300 }, (_, key) => contender(userId, at, NOW_MS, { idempotencyKey: `${key}` }));
	const [first, second] = [night(BEFORE_MIDNIGHT), night(AFTER_MIDNIGHT)];
	for (const all of [first, second]) {
		const outcomes = await takeIn(
			deps,
			all.map((one) => one.decide()),
		);
		expect(outcomes.filter(({ safe }) => !safe)).toEqual([]);
	}
	const { alarms, ends } = resolve(await slotsOf([...first, ...second]));
	expect(new Set(alarms)).toEqual(new Set(first.map(({ id }) => showId(id))));
	expect(ends.slice(300)).toEqual(first.map(({ id }) => showId(id)));
});

test("an alarm whose key day is over fails as KEY_DAY_CLOSED", async () => {
	const late = contender(freshUser(), "2026-11-20T12:00:00.000Z", NOW_MS);
	expect(await takeIn(deps, [late.decide()])).toEqual([{ safe: true, as: "failed", isNew: true }]);
	expect(await shards.slot(late.id)).toMatchObject({ outcome: "failed", why: { code: "KEY_DAY_CLOSED" } });
	expect(await shards.failure(late.id)).toMatchObject({ code: "KEY_DAY_CLOSED" });
});

test("while keys are fenced their alarms come again, and alarms without a key are stored", async () => {
	const userId = freshUser();
	const held = contender(userId, AFTER_MIDNIGHT, NOW_MS);
	const free = contender(userId, AFTER_MIDNIGHT, NOW_MS, { idempotencyKey: undefined });
	const keys = await shards.inMonth(held.id, "keys_2026_12_01");
	const database = shards.cluster("c0").db(keys.dbName);
	await database.command({ collMod: keys.collectionName, validator: { $expr: false } });
	expect(await takeIn(deps, [held.decide(), free.decide()])).toMatchObject([{ safe: false }, { safe: true }]);
	expect(await shards.slot(held.id)).toBeNull();
	await database.command({ collMod: keys.collectionName, validator: {} });
	expect(await takeIn(deps, [held.decide()])).toEqual([{ safe: true, as: "stored", isNew: true }]);
});

test("keys of today that have vanished are waited for, made by no insert, and made again by the router", async () => {
	const held = contender(freshUser(), AFTER_MIDNIGHT, NOW_MS);
	const keys = await shards.inMonth(held.id, "keys_2026_12_01");
	await keys.drop();
	expect(await takeIn(deps, [held.decide()])).toMatchObject([{ safe: false }]);
	const map = await shards.map();
	const gone = { shard: shardOf(held.id, 2), name: keys.collectionName, uuid: null };
	const without = withChange(map, { shards: [gone], clusters: [] }, new Date(NOW));
	await replaceDocument(clusters, MAP_ID, without);
	await routing.reload();
	expect(await takeIn(deps, [held.decide()])).toMatchObject([{ safe: false }]);
	expect(await shards.slot(held.id)).toBeNull();
	await ensureCollections(clusters, without, new Date(NOW));
	await redeliver(deps, held);
	expect(await shards.slot(held.id)).toHaveProperty("userId");
});
