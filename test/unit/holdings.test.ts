import {
	alarmsOf,
	CLUSTER_HOLDINGS,
	due,
	type Holding,
	holdingOf,
	LEDGER_DAYS,
	ledgerExpired,
	ledgerOf,
	META_HOLDINGS,
	monthOfCollection,
	SHARD_HOLDINGS,
	shardDatabase,
} from "../../domain/holdings.ts";
import { dayOf, daysBefore } from "../../domain/periods.ts";
import { DAY_MS, NOW_MS } from "./samples.ts";

const names = (holdings: Record<string, Holding>) => due(holdings, NOW_MS).map(({ name }) => name);

describe("what is due", () => {
	test("in a shard are this month, two months ahead, the customers and the failures", () => {
		expect(names(SHARD_HOLDINGS)).toEqual(["alarms_2026_11", "alarms_2026_12", "alarms_2027_01", "users", "failures"]);
	});

	test("in a cluster are the documents, today's ledger and two days ahead, the outbox and the leases", () => {
		expect(names(CLUSTER_HOLDINGS)).toEqual([
			"documents",
			"ledger_2026_11_22",
			"ledger_2026_11_23",
			"ledger_2026_11_24",
			"outbox",
			"leases",
		]);
	});

	test("in the meta database are the documents", () => {
		expect(names(META_HOLDINGS)).toEqual(["documents"]);
	});

	test("covers every moment that sendAt may name", () => {
		const lastMonth = due(SHARD_HOLDINGS, Date.parse("2027-01-31T23:59:59.999Z")).map(({ name }) => name);
		expect(lastMonth).toContain("alarms_2027_03");
	});

	test.each(Object.entries({ SHARD_HOLDINGS, CLUSTER_HOLDINGS, META_HOLDINGS }))(
		"of %s belongs to the very holding that made it due",
		(_, holdings) => {
			for (const { name, holding } of due(holdings, NOW_MS)) expect(holdingOf(holdings, name)).toBe(holding);
		},
	);
});

describe("a collection's name", () => {
	test.each(["alarms_2026_11", "users", "failures"])("%s belongs to a holding of the shards", (name) => {
		expect(holdingOf(SHARD_HOLDINGS, name)).not.toBeNull();
	});

	test.each([
		"alarms",
		"alarms_2026_1",
		"alarms_2026_11_22",
		"alarms_2026_11_old",
		"old_alarms_2026_11",
		"users_2026_11",
		"failures2",
		"ledger_2026_11_22",
		"",
		"constructor",
	])("%j is a stranger in a shard", (name) => {
		expect(holdingOf(SHARD_HOLDINGS, name)).toBeNull();
	});

	test("says the month of alarms, and of nothing else", () => {
		expect(monthOfCollection(alarmsOf("2026_11"))).toBe("2026_11");
		expect(monthOfCollection("users")).toBeNull();
		expect(monthOfCollection("ledger_2026_11_22")).toBeNull();
		expect(monthOfCollection("alarms_2026_11_22")).toBeNull();
	});
});

test("no kind stands twice, and each is filed under its own name", () => {
	for (const holdings of [SHARD_HOLDINGS, CLUSTER_HOLDINGS, META_HOLDINGS]) {
		expect(Object.values(holdings).map(({ kind }) => kind)).toEqual(Object.keys(holdings));
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
