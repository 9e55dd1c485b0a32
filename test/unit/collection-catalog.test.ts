import fc from "fast-check";
import {
	ARCHIVE_CATALOG,
	alarmsOf,
	type CatalogEntry,
	CLUSTER_CATALOG,
	catalogEntryOf,
	due,
	KEY_DAYS_BACK,
	keyDayIsComing,
	keyDaysBehind,
	keyDaysExpired,
	keysOf,
	LEDGER_DAYS,
	ledgerExpired,
	ledgerOf,
	META_CATALOG,
	monthOfCollection,
	SHARD_CATALOG,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import { dayOf, daysBefore } from "../../domain/time/periods.ts";
import { DAY_MS, NOW_MS } from "./samples.ts";

const names = (catalog: Record<string, CatalogEntry>) => due(catalog, NOW_MS).map(({ name }) => name);

describe("what is due", () => {
	test("in a shard are this month, two months ahead, today's keys and two days ahead, the customers, the failures and the moves", () => {
		expect(names(SHARD_CATALOG)).toEqual([
			"alarms_2026_11",
			"alarms_2026_12",
			"alarms_2027_01",
			"keys_2026_11_22",
			"keys_2026_11_23",
			"keys_2026_11_24",
			"users",
			"failures",
			"moves",
		]);
	});

	test("in a cluster are the documents, today's ledger and two days ahead, the outbox and the leases", () => {
		expect(names(CLUSTER_CATALOG)).toEqual([
			"documents",
			"ledger_2026_11_22",
			"ledger_2026_11_23",
			"ledger_2026_11_24",
			"outbox",
			"leases",
		]);
	});

	test("in the meta database are the documents, the runs of the archive mover, the history of the map and the plans that were shown", () => {
		expect(names(META_CATALOG)).toEqual(["documents", "runs", "history", "plans"]);
	});

	test("covers every moment that sendAt may name", () => {
		const lastMonth = due(SHARD_CATALOG, Date.parse("2027-01-31T23:59:59.999Z")).map(({ name }) => name);
		expect(lastMonth).toContain("alarms_2027_03");
	});

	test.each(Object.entries({ SHARD_CATALOG, CLUSTER_CATALOG, META_CATALOG }))(
		"of %s belongs to the very holding that made it due",
		(_, catalog) => {
			for (const { name, entry } of due(catalog, NOW_MS)) expect(catalogEntryOf(catalog, name)).toBe(entry);
		},
	);
});

describe("a collection's name", () => {
	test.each(["alarms_2026_11", "keys_2026_11_22", "users", "failures", "moves", "retained_archive_2026_11"])(
		"%s belongs to a holding of the shards",
		(name) => {
			expect(catalogEntryOf(SHARD_CATALOG, name)).not.toBeNull();
		},
	);

	test.each(["alarms_2026_11", "copy_2026_11_e7"])("%s belongs to a holding of the archive", (name) => {
		expect(catalogEntryOf(ARCHIVE_CATALOG, name)).not.toBeNull();
		expect(due(ARCHIVE_CATALOG, NOW_MS)).toEqual([]);
	});

	test.each(["copy_2026_11", "copy_2026_11_e", "alarms_2026_11_e7", "retained_archive_2026_11"])(
		"%j is a stranger in the archive",
		(name) => {
			expect(catalogEntryOf(ARCHIVE_CATALOG, name)).toBeNull();
		},
	);

	test.each([
		"alarms",
		"alarms_2026_1",
		"alarms_2026_11_22",
		"alarms_2026_11_old",
		"old_alarms_2026_11",
		"users_2026_11",
		"keys_2026_11",
		"failures2",
		"ledger_2026_11_22",
		"",
		"constructor",
	])("%j is a stranger in a shard", (name) => {
		expect(catalogEntryOf(SHARD_CATALOG, name)).toBeNull();
	});

	test("says the month of alarms, and of nothing else", () => {
		expect(monthOfCollection(alarmsOf("2026_11"))).toBe("2026_11");
		expect(monthOfCollection("users")).toBeNull();
		expect(monthOfCollection("ledger_2026_11_22")).toBeNull();
		expect(monthOfCollection("alarms_2026_11_22")).toBeNull();
	});
});

test("no kind stands twice, and each is filed under its own name", () => {
	for (const catalog of [SHARD_CATALOG, CLUSTER_CATALOG, META_CATALOG]) {
		expect(Object.values(catalog).map(({ kind }) => kind)).toEqual(Object.keys(catalog));
	}
});

test("a shard's database has a number of at least two digits", () => {
	expect([0, 15, 255].map(shardDatabase)).toEqual(["alarm_s00", "alarm_s15", "alarm_s255"]);
});

describe("a ledger day", () => {
	const dayBefore = (days: number) => ledgerOf(dayOf(daysBefore(NOW_MS, days)));

	test("is kept while any moment of it is younger than a week", () => {
		expect(ledgerExpired([dayBefore(0), dayBefore(1), dayBefore(LEDGER_DAYS)], NOW_MS)).toEqual([]);
	});

	test("expires when it is wholly older than a week", () => {
		expect(ledgerExpired([dayBefore(LEDGER_DAYS), dayBefore(LEDGER_DAYS + 1)], NOW_MS)).toEqual([
			dayBefore(LEDGER_DAYS + 1),
		]);
	});

	test("of an older year expires, too", () => {
		expect(ledgerExpired(["ledger_2025_12_31"], Date.parse("2026-01-20T00:00:00Z"))).toEqual(["ledger_2025_12_31"]);
	});

	test("of tomorrow stays", () => {
		expect(ledgerExpired([ledgerOf(dayOf(NOW_MS + DAY_MS))], NOW_MS)).toEqual([]);
	});

	test("is the only thing that expires: strangers and documents stay", () => {
		expect(ledgerExpired(["documents", "alarms_2000_01", "ledger_", "ledger_2000_01", "a"], NOW_MS)).toEqual([]);
	});
});

describe("a key day", () => {
	const today = dayOf(NOW_MS);
	const dayFromNow = (days: number) => dayOf(NOW_MS + days * DAY_MS);
	const key = (days: number) => keysOf(dayFromNow(days));
	const startMs = Date.parse("2026-11-22T00:00:00.000Z");

	test("expires when the low-watermark has passed its end by 24 hours, and not a millisecond earlier", () => {
		const held = [key(-3), key(-2), key(-1), key(0)];
		expect(keyDaysExpired(held, startMs - 1)).toEqual([key(-3)]);
		expect(keyDaysExpired(held, startMs)).toEqual([key(-3), key(-2)]);
	});

	test("is still there for every request that the low-watermark lets be on its way, on its own day and the day after", () => {
		fc.assert(
			fc.property(fc.nat(20 * DAY_MS), fc.nat(5 * DAY_MS), (acceptedAfterMs, agoMs) => {
				const acceptedAtMs = startMs + acceptedAfterMs;
				const needed = [keysOf(dayOf(acceptedAtMs)), keysOf(dayOf(acceptedAtMs - DAY_MS))];
				expect(keyDaysExpired(needed, acceptedAtMs - agoMs)).toEqual([]);
			}),
		);
	});

	test("is the only thing that expires so", () => {
		expect(keyDaysExpired(["users", "alarms_2000_01", "keys_2000_01", "keys_", "ledger_2000_01_01"], NOW_MS)).toEqual(
			[],
		);
	});

	test("of yesterday is made with the first ones, because the requests of today look there", () => {
		expect(keyDaysBehind([], NOW_MS, null)).toEqual([key(-1)]);
		expect(keyDaysBehind([key(0), key(1)], NOW_MS, null)).toEqual([key(-1)]);
	});

	test("that was missed while the router was away is made up for", () => {
		expect(keyDaysBehind([key(-4), key(-3)], NOW_MS, null)).toEqual([key(-4), key(-3), key(-2), key(-1)]);
	});

	test("that was missed is not made when it has expired by now, nor beyond a week", () => {
		expect(keyDaysBehind([key(-4)], NOW_MS, startMs - DAY_MS)).toEqual([key(-2), key(-1)]);
		expect(keyDaysBehind([key(-40)], NOW_MS, null)).toHaveLength(KEY_DAYS_BACK);
	});

	test.each([
		[0, true],
		[2, true],
		[3, false],
		[-1, true],
		[-2, false],
	])(
		"%i days from now and without a collection is still to be made in a system that has today's: %s",
		(days, expected) => {
			expect(keyDayIsComing(dayFromNow(days), [keysOf(today)], NOW_MS)).toBe(expected);
		},
	);

	test("that is younger than one that is kept was never dropped: it is still to be made", () => {
		expect(keyDayIsComing(dayFromNow(-3), [key(-5), key(0)], NOW_MS)).toBe(true);
		expect(keyDayIsComing(dayFromNow(-6), [key(-5), key(0)], NOW_MS)).toBe(false);
	});

	test("that the router will make is never called over", () => {
		fc.assert(
			fc.property(fc.array(fc.integer({ min: -30, max: 2 })), (held) => {
				const names = held.map(key);
				for (const name of keyDaysBehind(names, NOW_MS, null))
					expect(keyDayIsComing(name.slice("keys_".length), names, NOW_MS)).toBe(true);
			}),
		);
	});
});
