import fc from "fast-check";
import type { ArchiveRequest, DueMonth } from "../../contracts/archive.ts";
import type { CollectionPlace, RoutingMap } from "../../contracts/routing.ts";
import { type ArchiveFacts, type ArchiveLimits, archivePlan } from "../../domain/jobs/archive-plan.ts";
import { alarmsOf } from "../../domain/routing/collection-catalog.ts";
import { addMonths, type Month, monthEndMs, monthOf, monthStartMs } from "../../domain/time/periods.ts";
import { DAY_MS, iso, NOW_MS } from "./samples.ts";

const LIMITS: ArchiveLimits = { serviceDays: 90, archiveDays: 365, mostDrops: 2 };
const service: CollectionPlace = { tier: "service", uuid: "s" };
const archived: CollectionPlace = { tier: "archive", uuid: "a", cluster: "a0" };

function mapOf(...shards: Record<Month, CollectionPlace>[]): RoutingMap {
	const places = shards.map((months) => ({
		cluster: "c0",
		collections: {
			...Object.fromEntries(Object.entries(months).map(([month, place]) => [alarmsOf(month), place])),
			users: service,
			keys_2024_01_01: service,
		},
	}));
	return { version: 1, changedAt: "", shards: places, clusters: {} };
}

/** All is well: the clock fits, and nothing is on its way. */
const factsOf = (map: RoutingMap, own: Partial<ArchiveFacts> = {}): ArchiveFacts => {
	const nowMs = own.nowMs ?? NOW_MS;
	return { map, nowMs, lowWatermarkMs: nowMs - 10_000, newestMs: nowMs - 1_000, clocks: [], ...own };
};
const planOf = (map: RoutingMap, own: Partial<ArchiveFacts> = {}, asked: ArchiveRequest = {}, limits = LIMITS) =>
	archivePlan(factsOf(map, own), limits, asked);
const names = (due: DueMonth[]) => due.map(({ kind, shard, month }) => `${kind} ${month} of ${shard}`);
const keptOf = (plan: ReturnType<typeof planOf>) =>
	plan.kept.map(({ month, shards, reason }) => `${month} of ${shards}: ${reason.code}`);

describe("a month", () => {
	test("is archived once its last day is older than SERVICE_DAYS, and dropped once it is older than ARCHIVE_DAYS", () => {
		const map = mapOf({ "2026_08": service, "2025_11": archived, "2026_11": service, "2026_12": service });
		const at = (month: Month, days: number) => monthEndMs(month) + days * DAY_MS;
		expect(names(planOf(map, { nowMs: at("2026_08", 90) }).due)).toEqual([]);
		expect(names(planOf(map, { nowMs: at("2026_08", 90) + 1 }).due)).toEqual(["archive 2026_08 of 0"]);
		expect(names(planOf(map, { nowMs: at("2025_11", 365) }).due)).toEqual(["archive 2026_08 of 0"]);
		expect(names(planOf(map, { nowMs: at("2025_11", 365) + 1 }).due)).toEqual([
			"drop 2025_11 of 0",
			"archive 2026_08 of 0",
		]);
	});

	test("comes oldest first, over all shards", () => {
		const months = { "2026_07": service, "2026_06": service };
		expect(names(planOf(mapOf(months, months)).due)).toEqual([
			"archive 2026_06 of 0",
			"archive 2026_06 of 1",
			"archive 2026_07 of 0",
			"archive 2026_07 of 1",
		]);
	});

	test("that was never archived is not dropped, however old: it is archived, and dropped by a later plan", () => {
		expect(names(planOf(mapOf({ "2024_01": service })).due)).toEqual(["archive 2024_01 of 0"]);
	});

	test("whose source is still kept is not dropped", () => {
		const kept = { ...archived, retained: { uuid: "s", since: iso(NOW_MS), settled: true } };
		const plan = planOf(mapOf({ "2024_01": kept }));
		expect([names(plan.due), keptOf(plan)]).toEqual([[], ["2024_01 of 0: SOURCE_KEPT"]]);
	});

	test("that was left in the middle is gone on with, whatever its age", () => {
		const unsettled = { ...archived, retained: { uuid: "s", since: iso(NOW_MS), settled: false } };
		const map = mapOf({
			"2026_10": { ...service, tier: "moving" },
			"2026_09": unsettled,
			"2026_08": { ...archived, tier: "dropped" },
		});
		expect(names(planOf(map).due)).toEqual(["drop 2026_08 of 0", "archive 2026_09 of 0", "archive 2026_10 of 0"]);
	});

	test("that was asked for and is not due says when it is", () => {
		const plan = planOf(mapOf({ "2026_10": service, "2026_06": service }), {}, { month: "2026_10" });
		expect([names(plan.due), keptOf(plan)]).toEqual([[], ["2026_10 of 0: NOT_DUE"]]);
		expect(plan.kept[0]?.reason.message).toContain("SERVICE_DAYS (90)");
	});

	test("of a shard that there is none of is refused, and does not look like nothing to do", () => {
		const twoShards = mapOf({ "2026_06": service }, { "2026_06": service });
		const message = "There is no shard 2: there are 2, from 0 on.";
		const faults = [{ field: "shard", rule: "unknown", message }];
		expect(() => planOf(twoShards, {}, { shard: 2 })).toThrow(expect.objectContaining({ data: { faults } }));
		expect(names(planOf(twoShards, {}, { shard: 1 }).due)).toEqual(["archive 2026_06 of 1"]);
	});

	test("that was asked for and is not there is said to be", () => {
		const map = mapOf({ "2026_06": service }, {});
		expect(keptOf(planOf(map, {}, { month: "2024_01" }))).toEqual(["2024_01 of : NOT_HELD"]);
		const { kept } = planOf(map, {}, { month: "2026_06", shard: 1 });
		expect(kept[0]?.reason.message).toBe("Shard 1 has no alarms of 2026_06.");
	});

	test("and a shard that are asked for are all that is planned", () => {
		const months = { "2026_07": service, "2026_06": service };
		const plan = planOf(mapOf(months, months), {}, { month: "2026_06", shard: 1 });
		expect(names(plan.due)).toEqual(["archive 2026_06 of 1"]);
	});
});

describe("what may still be on its way", () => {
	const map = mapOf({ "2026_06": service, "2026_07": service });

	test("is not touched: a month waits until the low-watermark has passed its end", () => {
		const plan = planOf(map, { lowWatermarkMs: monthEndMs("2026_06") + 1 });
		expect([names(plan.due), keptOf(plan)]).toEqual([["archive 2026_06 of 0"], ["2026_07 of 0: WATERMARK_BEHIND"]]);
		expect(names(planOf(map, { lowWatermarkMs: monthEndMs("2026_06") }).due)).toEqual([]);
	});

	test("cannot be told without a low-watermark: nothing is done", () => {
		const plan = planOf(map, { lowWatermarkMs: null });
		expect([plan.due, keptOf(plan)]).toEqual([
			[],
			["2026_06 of 0: WATERMARK_BEHIND", "2026_07 of 0: WATERMARK_BEHIND"],
		]);
	});
});

describe("many drops at once", () => {
	const map = mapOf({ "2025_01": archived, "2025_02": archived, "2025_03": archived, "2026_06": service });

	test("are held back until their number is confirmed; what is to be archived goes on", () => {
		const plan = planOf(map);
		expect(names(plan.due)).toEqual(["archive 2026_06 of 0"]);
		expect(keptOf(plan)).toEqual(["2025_01", "2025_02", "2025_03"].map((month) => `${month} of 0: TOO_MANY_DROPS`));
		expect(plan.kept[0]?.reason.message).toContain("confirmDrops 3");
	});

	test.each([2, 4])("are not confirmed by another number: %i", (confirmDrops) => {
		expect(names(planOf(map, {}, { confirmDrops }).due)).toEqual(["archive 2026_06 of 0"]);
	});

	test("go when the very number is said, and months count once over all shards", () => {
		expect(planOf(map, {}, { confirmDrops: 3 }).due).toHaveLength(4);
		const two = { "2025_01": archived, "2025_02": archived };
		expect(planOf(mapOf(two, two, two)).due).toHaveLength(6);
	});

	test("do not count drops that have begun", () => {
		const begun = { ...archived, tier: "dropped" } as const;
		const plan = planOf(mapOf({ "2025_01": begun, "2025_02": archived, "2025_03": archived }));
		expect(plan.due).toHaveLength(3);
	});
});

describe("a clock", () => {
	const map = mapOf({ "2026_06": service });
	const doubt = (own: Partial<ArchiveFacts>, asked?: ArchiveRequest) => planOf(map, own, asked).refused;

	test("a week after the newest stored alarm is believed, and not a moment later", () => {
		expect(doubt({ newestMs: NOW_MS - 7 * DAY_MS })).toBeNull();
		const fault = doubt({ newestMs: NOW_MS - 7 * DAY_MS - 1 });
		expect(fault?.code).toBe("CLOCK_DOUBTFUL");
		expect(fault?.message).toContain(iso(NOW_MS));
		expect(fault?.message).toContain(iso(NOW_MS - 7 * DAY_MS - 1));
		expect(fault?.message).toContain("trustClock");
	});

	test("a minute before the newest stored alarm is believed, and not a moment more", () => {
		expect(doubt({ newestMs: NOW_MS + 60_000 })).toBeNull();
		expect(doubt({ newestMs: NOW_MS + 60_001 })?.code).toBe("CLOCK_DOUBTFUL");
	});

	test("that somebody vouches for is believed", () => {
		const plan = planOf(map, { newestMs: NOW_MS - 30 * DAY_MS }, { trustClock: true });
		expect([plan.refused, names(plan.due)]).toEqual([null, ["archive 2026_06 of 0"]]);
	});

	test("that differs from a database's is refused, whoever vouches for it", () => {
		const clocks = [{ server: "c0", theirsMs: NOW_MS - 6_000, askedMs: NOW_MS, heardMs: NOW_MS }];
		const fault = doubt({ clocks }, { trustClock: true });
		expect(fault?.code).toBe("CLOCK_DOUBTFUL");
		expect(fault?.message).toContain("6.0 s ahead of that of c0");
	});

	test("cannot be checked where nothing is stored: then nothing is done; nothing to do is no fault", () => {
		expect(doubt({ newestMs: null })?.code).toBe("CLOCK_DOUBTFUL");
		expect(planOf(mapOf({ "2026_11": service }), { newestMs: null })).toMatchObject({ refused: null, due: [] });
	});

	test("a few days ahead over a month's end does not make the month that is written to an old one", () => {
		const nowMs = monthStartMs("2026_12") + 2 * DAY_MS;
		const short = { ...LIMITS, serviceDays: 1 };
		const plan = planOf(mapOf({ "2026_11": service }), { nowMs, newestMs: nowMs - 4 * DAY_MS }, {}, short);
		expect([names(plan.due), keptOf(plan)]).toEqual([[], ["2026_11 of 0: MONTH_IN_USE"]]);
	});
});

describe("whatever the months, the numbers and the moment", () => {
	const moment = fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2040, 0) });
	const place: fc.Arbitrary<CollectionPlace> = fc
		.record({
			tier: fc.constantFrom("service", "moving", "archive", "dropped"),
			retained: fc.constantFrom(undefined, true, false),
		})
		.map(({ tier, retained }) => ({
			...(tier === "service" || tier === "moving" ? service : archived),
			tier: tier as CollectionPlace["tier"],
			...(tier === "archive" && retained !== undefined && { retained: { uuid: "s", since: "", settled: retained } }),
		}));
	const around = (nowMs: number) =>
		fc
			.dictionary(
				fc.integer({ min: -30, max: 3 }).map((ahead) => addMonths(monthOf(nowMs), ahead)),
				place,
			)
			.map((months) => mapOf(months));
	const limits = fc
		.tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 400 }))
		.map(([serviceDays, more]) => ({ serviceDays, archiveDays: serviceDays + more, mostDrops: 1_000 }));
	const scene = moment.chain((nowMs) => fc.tuple(fc.constant(nowMs), around(nowMs), limits));
	const asked: fc.Arbitrary<ArchiveRequest> = fc.record({
		trustClock: fc.boolean(),
		fresh: fc.boolean(),
		confirmDrops: fc.nat(40),
	});

	test("the current month and the next are never in a plan", () => {
		fc.assert(
			fc.property(scene, asked, fc.integer({ min: -60_000, max: 7 * DAY_MS }), ([nowMs, map, own], request, back) => {
				const { due } = archivePlan(factsOf(map, { nowMs, newestMs: nowMs - back }), own, request);
				for (const { month } of due) expect(month < monthOf(nowMs)).toBe(true);
			}),
		);
	});

	test("no month is in a plan whose end the low-watermark has not passed", () => {
		fc.assert(
			fc.property(scene, asked, fc.integer({ min: 0, max: 900 }), ([nowMs, map, own], request, behindDays) => {
				const lowWatermarkMs = nowMs - behindDays * DAY_MS;
				const { due } = archivePlan(factsOf(map, { nowMs, lowWatermarkMs }), own, request);
				for (const { month } of due) expect(monthEndMs(month)).toBeLessThan(lowWatermarkMs);
			}),
		);
	});

	test("a month that is due stays due", () => {
		fc.assert(
			fc.property(scene, fc.integer({ min: 0, max: 900 * DAY_MS }), ([nowMs, map, own], laterMs) => {
				const later = names(archivePlan(factsOf(map, { nowMs: nowMs + laterMs }), own).due);
				for (const one of names(archivePlan(factsOf(map, { nowMs }), own).due)) expect(later).toContain(one);
			}),
		);
	});

	test.each([40, 3_650, -40, -3_650])("a clock that jumps by %i days changes nothing", (days) => {
		fc.assert(
			fc.property(scene, ([realMs, map, own]) => {
				const jumped = { ...factsOf(map, { nowMs: realMs }), nowMs: realMs + days * DAY_MS };
				const plan = archivePlan(jumped, own);
				expect([plan.refused?.code, plan.due]).toEqual(["CLOCK_DOUBTFUL", []]);
			}),
		);
	});

	test("a clock that is off by less than is noticed touches no month that is current or to come", () => {
		const off = fc.integer({ min: -60_000, max: 7 * DAY_MS - 1_000 });
		fc.assert(
			fc.property(scene, off, ([realMs, map, own], offMs) => {
				const skewed = { ...factsOf(map, { nowMs: realMs }), newestMs: realMs, nowMs: realMs + offMs };
				for (const { month } of archivePlan(skewed, own).due) expect(month < monthOf(realMs)).toBe(true);
			}),
		);
	});

	test("only archived months are dropped, and only those that lie with their shard are archived anew", () => {
		fc.assert(
			fc.property(scene, ([nowMs, map, own]) => {
				for (const { kind, shard, month } of archivePlan(factsOf(map, { nowMs }), own).due) {
					const place = map.shards[shard]?.collections[alarmsOf(month)];
					const { tier, retained } = place as CollectionPlace;
					const isArchived = tier === "dropped" || (tier === "archive" && retained?.settled !== false);
					expect(kind).toBe(isArchived ? "drop" : "archive");
				}
			}),
		);
	});

	test("too many drops are all held back, or none", () => {
		fc.assert(
			fc.property(scene, fc.nat(30), ([nowMs, map, own], mostDrops) => {
				const many = archivePlan(factsOf(map, { nowMs }), own).due;
				const few = archivePlan(factsOf(map, { nowMs }), { ...own, mostDrops }).due;
				const newDrops = (due: DueMonth[]) =>
					due.filter(
						({ kind, month, shard }) =>
							kind === "drop" && map.shards[shard]?.collections[alarmsOf(month)]?.tier === "archive",
					);
				expect(newDrops(few)).toEqual(newDrops(many).length > mostDrops ? [] : newDrops(many));
			}),
		);
	});
});
