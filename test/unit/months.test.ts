import fc from "fast-check";
import type { CollectionPlace, Tier } from "../../contracts/routing.ts";
import { alarmsOf, monthOfCollection } from "../../domain/routing/collection-catalog.ts";
import { MONTHS_BACK, monthIsComing, monthsDue } from "../../domain/routing/months.ts";
import { addMonths, monthOf } from "../../domain/time/periods.ts";
import { NOW_MS } from "./samples.ts";

/** Relative to November 2026. */
const month = (offset: number) => addMonths("2026_11", offset);

function shard(held: [offset: number, tier: Tier][]): Record<string, CollectionPlace> {
	const others = { users: { tier: "service" as const, uuid: "u" } };
	return { ...others, ...Object.fromEntries(held.map(([at, tier]) => [alarmsOf(month(at)), { tier, uuid: `${at}` }])) };
}
const service = (...offsets: number[]) => shard(offsets.map((at) => [at, "service"]));
const dueOffsets = (places: Record<string, CollectionPlace>, nowMs = NOW_MS) =>
	monthsDue(places, nowMs).map((one) => Array.from({ length: 400 }, (_, n) => n - 200).find((n) => month(n) === one));

test("a new system has this month and two more, and no past", () => {
	expect(dueOffsets(service())).toEqual([0, 1, 2]);
	expect(dueOffsets(service(0, 1, 2))).toEqual([0, 1, 2]);
});

test("every month that the router has missed is due, however many, up to a year", () => {
	expect(dueOffsets(service(-6, -5))).toEqual([-6, -5, -4, -3, -2, -1, 0, 1, 2]);
	expect(dueOffsets(service(-30, -29))).toEqual(Array.from({ length: MONTHS_BACK + 3 }, (_, at) => at - MONTHS_BACK));
});

test("one that could not be made while newer ones could is still due", () => {
	expect(dueOffsets(service(-3, -2, 0, 1, 2))).toContain(-1);
	expect(monthIsComing(month(-1), service(-3, -2, 0, 1, 2), NOW_MS)).toBe(true);
});

test("a month that is archived, or was dropped beside older or younger archived ones, is never due again", () => {
	const places = shard([
		[-9, "service"],
		[-7, "archive"],
		[-5, "archive"],
		[-3, "service"],
	]);
	expect(dueOffsets(places)).toEqual([-4, -3, -2, -1, 0, 1, 2]);
	for (const at of [-10, -8, -6, -5]) expect(monthIsComing(month(at), places, NOW_MS)).toBe(false);
	expect(monthIsComing(month(-4), places, NOW_MS)).toBe(true);
	expect(dueOffsets(shard([[-2, "dropped"]]))).toEqual([-1, 0, 1, 2]);
});

test("all that is held is archived: what came since is due", () => {
	expect(dueOffsets(shard([[-5, "archive"]]))).toEqual([-4, -3, -2, -1, 0, 1, 2]);
});

test("a clock that is a year behind asks for no month that is older than what is held", () => {
	const yearBehind = Date.parse("2025-11-22T10:00:00Z");
	expect(dueOffsets(service(-3, -2, -1, 0, 1, 2), yearBehind)).toEqual([]);
	expect(
		dueOffsets(
			shard([
				[-14, "archive"],
				[0, "service"],
			]),
			yearBehind,
		),
	).not.toContain(-14);
	expect(dueOffsets(service(-1, 0, 1), Date.parse("2026-08-22T10:00:00Z"))).toEqual([-1]);
});

test("a clock that is ten years ahead makes months ahead, at most a year back from there", () => {
	const due = monthsDue(service(0, 1, 2), Date.parse("2036-11-22T10:00:00Z"));
	expect(due[0]).toBe("2035_11");
	expect(due).toHaveLength(MONTHS_BACK + 3);
});

test.each([
	[-1, false],
	[0, true],
	[2, true],
	[3, false],
	[-11, false],
])("%i months from now and without a collection is still to be made in a new system: %s", (at, expected) => {
	expect(monthIsComing(month(at), service(), NOW_MS)).toBe(expected);
	expect(monthIsComing(month(at), service(0), NOW_MS)).toBe(expected);
});

test("nothing older than all that is held, or as old as something archived, is ever due; the present always is, unless it is older", () => {
	const tiers: Tier[] = ["service", "moving", "archive", "dropped"];
	const held = fc.array(fc.tuple(fc.integer({ min: -40, max: 4 }), fc.constantFrom(...tiers)), { maxLength: 8 });
	fc.assert(
		fc.property(held, fc.integer({ min: -400, max: 400 }), (some, daysOff) => {
			const places = shard(some);
			const nowMs = NOW_MS + daysOff * 86_400_000;
			const due = monthsDue(places, nowMs);
			const months = Object.keys(places).flatMap((name) => monthOfCollection(name) ?? []);
			const over = Object.entries(places).flatMap(([name, { tier }]) =>
				tier === "archive" || tier === "dropped" ? (monthOfCollection(name) ?? []) : [],
			);
			for (const one of due) {
				if (months.length > 0) expect(months.some((own) => own <= one)).toBe(true);
				expect(over.every((own) => own < one)).toBe(true);
				expect(monthIsComing(one, places, nowMs)).toBe(true);
			}
			const current = monthOf(nowMs);
			const isOlder = months.every((own) => own > current) && months.length > 0;
			if (!isOlder && over.every((own) => own < current)) expect(due).toContain(current);
		}),
	);
});
