import fc from "fast-check";
import type { RoutingMap } from "../../contracts/routing.ts";
import { newAlarmId, shardOf, userHash } from "../../domain/alarms/ids.ts";
import {
	clusterTarget,
	firstMap,
	isEmptyChange,
	isInService,
	type MapChange,
	monthsPresent,
	shardPlace,
	shardTarget,
	slotIsComing,
	slotOf,
	sourceOf,
	withChange,
} from "../../domain/routing/routing.ts";
import { iso, NOW_MS } from "./samples.ts";

const NOW = new Date(NOW_MS);
const NONE: MapChange = { shards: [], clusters: [] };

function deepFreeze<T>(value: T): T {
	if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
	return value;
}

/** Every shard of a map of two clusters holds these months. */
function mapWith(...months: string[]): RoutingMap {
	const map = firstMap(16, ["c0", "c1"], NOW);
	const shards = map.shards.flatMap((_, shard) =>
		months.map((month) => ({ shard, name: `alarms_${month}`, uuid: `${shard}-${month}` })),
	);
	return withChange(map, { ...NONE, shards }, NOW);
}

describe("the first map", () => {
	test("deals the shards over the clusters in turn", () => {
		expect(firstMap(4, ["c0", "c1"], NOW).shards.map(({ cluster }) => cluster)).toEqual(["c0", "c1", "c0", "c1"]);
	});

	test("has version 1, its moment, and no collections yet", () => {
		const map = firstMap(2, ["c0"], NOW);
		expect(map).toMatchObject({ version: 1, changedAt: iso(NOW_MS), clusters: { c0: { collections: {} } } });
		expect(map.shards.every(({ collections }) => Object.keys(collections).length === 0)).toBe(true);
	});

	test("gives each shard collections of its own", () => {
		const map = firstMap(4, ["c0", "c1"], NOW);
		expect(new Set(map.shards.map(({ collections }) => collections)).size).toBe(4);
	});

	test("spreads any number of shards evenly: no cluster has two more than another", () => {
		fc.assert(
			fc.property(fc.constantFrom(1, 2, 4, 16, 256), fc.integer({ min: 1, max: 9 }), (count, clusterCount) => {
				const clusterNames = Array.from({ length: clusterCount }, (_, index) => `c${index}`);
				const { shards } = firstMap(count, clusterNames, NOW);
				const sizes = clusterNames.map((name) => shards.filter(({ cluster }) => cluster === name).length);
				return Math.max(...sizes) - Math.min(...sizes) <= 1;
			}),
		);
	});
});

describe("the slot of an id", () => {
	test("lies in the month of the id's time and the shard of its customer", () => {
		const map = mapWith("2026_10", "2026_11");
		const id = newAlarmId("u1", Date.parse("2026-10-31T23:59:59.999Z"));
		const shard = shardOf(userHash("u1"), 16);
		expect(slotOf(map, id)).toEqual({
			cluster: `c${shard % 2}`,
			database: `alarm_s${String(shard).padStart(2, "0")}`,
			collection: "alarms_2026_10",
			uuid: `${shard}-2026_10`,
			tier: "service",
		});
	});

	test("is null when its month has no collection", () => {
		expect(slotOf(mapWith("2026_11"), newAlarmId("u1", Date.parse("2026-12-01T00:00:00Z")))).toBeNull();
	});

	test("is null, and no mistake, for any time that 6 bytes can say", () => {
		expect(slotOf(mapWith("2026_11"), newAlarmId("u1", 0))).toBeNull();
		expect(slotOf(mapWith("2026_11"), newAlarmId("u1", 2 ** 48 - 1))).toBeNull();
	});
});

describe("a place in the map", () => {
	test("of a shard that does not exist is an error that names it", () => {
		expect(() => shardPlace(firstMap(4, ["c0"], NOW), 4)).toThrow("no shard 4");
	});

	test("of a collection that a shard does not hold is null", () => {
		expect(shardTarget(firstMap(4, ["c0"], NOW), 0, "users")).toBeNull();
	});

	test("beside the shards is found by cluster, and null for a cluster that is not there", () => {
		const map = withChange(
			firstMap(1, ["c0"], NOW),
			{ ...NONE, clusters: [{ cluster: "c0", name: "documents", uuid: "d" }] },
			NOW,
		);
		expect(clusterTarget(map, "c0", "alarm_cluster", "documents")).toEqual({
			cluster: "c0",
			database: "alarm_cluster",
			collection: "documents",
			uuid: "d",
			tier: "service",
		});
		expect(clusterTarget(map, "c9", "alarm_cluster", "documents")).toBeNull();
	});

	test("tells the months that a shard holds, newest first, whatever their order in the map", () => {
		expect(monthsPresent(mapWith("2026_11", "2027_01", "2026_09", "2026_12"), 0)).toEqual([
			"2027_01",
			"2026_12",
			"2026_11",
			"2026_09",
		]);
	});

	test("counts only collections of alarms as months", () => {
		const map = withChange(mapWith("2026_11"), { ...NONE, shards: [{ shard: 0, name: "users", uuid: "u" }] }, NOW);
		expect(monthsPresent(map, 0)).toEqual(["2026_11"]);
	});
});

test("the slot of an id is coming when its own shard has still to make the month", () => {
	const map = mapWith("2026_10", "2026_11");
	expect(slotIsComing(map, newAlarmId("u1", Date.parse("2026-12-01T00:00:00Z")), NOW_MS)).toBe(true);
	expect(slotIsComing(map, newAlarmId("u1", Date.parse("2026-09-30T00:00:00Z")), NOW_MS)).toBe(false);
	const own = shardPlace(map, shardOf(userHash("u1"), 16));
	own.collections.alarms_2026_08 = { tier: "service", uuid: "s" };
	expect(slotIsComing(map, newAlarmId("u1", Date.parse("2026-09-30T00:00:00Z")), NOW_MS)).toBe(true);
});

describe("an archived month", () => {
	const id = newAlarmId("u1", Date.parse("2026-10-05T00:00:00Z"));
	const shard = shardOf(userHash("u1"), 16);
	const archived = () => {
		const map = mapWith("2026_10", "2026_11");
		const retained = { uuid: "src", since: iso(NOW_MS), settled: false };
		shardPlace(map, shard).collections.alarms_2026_10 = { tier: "archive", uuid: "a", cluster: "a0", retained };
		return map;
	};

	test("is not in service any more; one that moves is", () => {
		expect(isInService(archived(), id)).toBe(false);
		expect(isInService(mapWith("2026_10"), id)).toBe(true);
		expect(isInService(mapWith("2026_11"), id)).toBe(false);
		const moving = mapWith("2026_10");
		shardPlace(moving, shard).collections.alarms_2026_10 = { tier: "moving", uuid: "m" };
		expect(isInService(moving, id)).toBe(true);
	});

	test("tells where its source stands, as long as there is one", () => {
		expect(sourceOf(archived(), id)).toMatchObject({
			cluster: `c${shard % 2}`,
			collection: "alarms_2026_10",
			uuid: "src",
		});
		expect(sourceOf(mapWith("2026_10"), id)).toBeNull();
		expect(sourceOf(mapWith("2026_11"), id)).toBeNull();
	});
});

describe("a change of the map", () => {
	const change: MapChange = {
		shards: [
			{ shard: 1, name: "users", uuid: "u" },
			{ shard: 0, name: "keys_2026_11_20", uuid: null },
		],
		clusters: [
			{ cluster: "c0", name: "ledger_2026_11_22", uuid: null },
			{ cluster: "c1", name: "documents", uuid: "d" },
		],
	};
	const oldMap = () =>
		withChange(
			firstMap(2, ["c0", "c1"], NOW),
			{
				shards: [{ shard: 0, name: "keys_2026_11_20", uuid: "k" }],
				clusters: [{ cluster: "c0", name: "ledger_2026_11_22", uuid: "l" }],
			},
			NOW,
		);

	test("leaves the map it was made from as it is", () => {
		const map = oldMap();
		const copy = structuredClone(map);
		withChange(deepFreeze(map), change, NOW);
		expect(map).toEqual(copy);
	});

	test("shares nothing with the map it was made from", () => {
		const map = oldMap();
		const next = withChange(map, change, NOW);
		expect(next.shards[0]?.collections).not.toBe(map.shards[0]?.collections);
		expect(next.clusters.c1).not.toBe(map.clusters.c1);
	});

	test("raises the version by one and says when", () => {
		const later = new Date(NOW_MS + 5);
		expect(withChange(oldMap(), change, later)).toMatchObject({ version: 3, changedAt: later.toISOString() });
	});

	test("puts collections in, and takes those with a null uuid out", () => {
		const next = withChange(oldMap(), change, NOW);
		expect(next.shards[1]?.collections).toEqual({ users: { tier: "service", uuid: "u" } });
		expect(next.shards[0]?.collections).toEqual({});
		expect(next.clusters.c1?.collections).toEqual({ documents: { tier: "service", uuid: "d" } });
		expect(next.clusters.c0?.collections).toEqual({});
	});

	test("brings in a cluster that is new to the map", () => {
		const next = withChange(oldMap(), { ...NONE, clusters: [{ cluster: "c2", name: "documents", uuid: "d" }] }, NOW);
		expect(next.clusters.c2).toEqual({ collections: { documents: { tier: "service", uuid: "d" } } });
	});

	test("of a shard that does not exist is refused", () => {
		expect(() => withChange(oldMap(), { ...NONE, shards: [{ shard: 2, name: "users", uuid: "u" }] }, NOW)).toThrow(
			"no shard 2",
		);
	});

	test("is empty only when it changes neither shards nor clusters", () => {
		expect(isEmptyChange(NONE)).toBe(true);
		expect(isEmptyChange({ ...NONE, shards: change.shards })).toBe(false);
		expect(isEmptyChange({ ...NONE, clusters: change.clusters })).toBe(false);
	});
});
