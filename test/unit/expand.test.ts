import { readOptions } from "../../bench/expand/options.ts";
import { pausesOf, pictureOf } from "../../bench/expand/picture.ts";
import { longer, noPauses, type Pause } from "../../bench/load/busy-plan.ts";
import { type Promised, Tally } from "../../bench/recount.ts";
import type { ShardState } from "../../contracts/shards.ts";
import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import { realNow } from "../support/now.ts";

const ids = Array.from({ length: 4 }, (_, at) => newAlarmId(`u${at}`, at));
const shown = (at: number) => showId(ids[at] as Buffer);
/** The first was there before, and is marked; the others are accepted. */
const promised = (): Promised => ({ ids: [1, 2, 3].map(shown), marks: [[shown(0), true]], before: 1 });
const row = (at: number, more: { userId?: string; readAt?: Date } = { userId: "u" }) => ({
	_id: ids[at] as Buffer,
	...more,
});
const whole = (tally: Tally) => {
	tally.take(row(0, { userId: "u", readAt: realNow() }), null);
	for (const at of [1, 2]) tally.take(row(at), null);
};

test("a count finds nothing wrong when every alarm is there once, marked as it was answered", () => {
	const tally = new Tally(promised());
	whole(tally);
	tally.take(row(3), null);
	expect(tally.result()).toEqual({ found: 4, stored: 3, wrong: [] });
});

test.each([
	["one was lost", () => undefined, /1 LOST: accepted, and not there: .*\n3 alarms are there; 1 were before/],
	["one came twice", (tally: Tally) => [3, 3].map((at) => tally.take(row(at), null)), /1 DOUBLED/],
	["one was lost and another came twice", (tally: Tally) => tally.take(row(2), null), /1 DOUBLED.*\n1 LOST/],
	["one ended otherwise", (tally: Tally) => tally.take(row(3, {}), null), /1 tombstones/],
	[
		"one lies where no reader looks",
		(tally: Tally) => tally.take(row(3), "c9/alarm_s00.alarms"),
		/1 where no reader looks: \S+ in c9\/alarm_s00\.alarms/,
	],
	[
		"there is one that nobody sent",
		(tally: Tally) => [3, 0].map((at) => tally.take(row(at), null)),
		/5 alarms are there/,
	],
])("a count tells that %s", (_what, spoil, why) => {
	const tally = new Tally(promised());
	whole(tally);
	spoil(tally);
	expect(tally.result().wrong.join("\n")).toMatch(why);
});

test("a count tells that a mark was lost, or its alarm", () => {
	const tally = new Tally(promised());
	tally.take(row(0), null);
	expect(tally.result().wrong.join("\n")).toMatch(`1 marked otherwise than was answered: ${shown(0)}`);
	expect(new Tally(promised()).result().wrong.join("\n")).toMatch(`1 LOST: marked, and not there: ${shown(0)}`);
});

test("the picture has a line per cluster, and says whereto a shard is on its way", () => {
	const shards = [
		{ shard: 0, cluster: "c0", move: null },
		{ shard: 1, cluster: "c0", move: { to: "c1" } },
		{ shard: 10, cluster: "c1", move: { to: "c1" } },
	] as ShardState[];
	expect(pictureOf(["c0", "c1", "c10"], shards)).toBe("  c0   [00] [01 → c1]\n  c1   [10]\n  c10  ·");
});

test("of two looks the longer waits are kept, and what was asked to come again is added up", () => {
	const one: Pause = { markMs: 5, readableMs: 1, retried: 2 };
	const other: Pause = { markMs: 3, readableMs: 4, retried: 1 };
	expect(longer([one], [other])).toEqual([{ markMs: 5, readableMs: 4, retried: 3 }]);
	expect(longer([one], noPauses(1))).toEqual([one]);
});

test("waits are told shard by shard, those that moved first", () => {
	const [pause] = noPauses(1) as [Pause];
	const lines = [
		{ shard: 3, from: "c0", to: "c0", pause, before: pause },
		{ shard: 12, from: "c0", to: "c4", pause: { markMs: 812.4, readableMs: 1_900, retried: 7 }, before: pause },
	];
	const [, moved = "", stayed = ""] = pausesOf(lines).split("\n");
	expect(moved).toMatch(/^ {2}12 +c0 → c4 +812 ms +0 ms +1900 ms +0 ms +7$/);
	expect(stayed).toMatch(/^ {2}03 +c0, stayed/);
});

test("what is given counts more than --quick, and --quick more than the usual", () => {
	const usual = readOptions([]);
	const quick = readOptions(["--quick"]);
	expect(quick.alarms).toBeLessThan(usual.alarms);
	expect(readOptions(["--quick", "--alarms", "7"])).toEqual({ ...quick, alarms: 7 });
	expect(usual).not.toHaveProperty("rate");
});

test.each([
	["--creations", "0"],
	["--seconds", "x"],
	["--marks", "2"],
])("the demonstration refuses %s %s", (...args) => {
	const write = jest.spyOn(process.stderr, "write").mockReturnValue(true);
	try {
		expect(() => readOptions(args)).toThrow(/whole number/);
	} finally {
		write.mockRestore();
	}
});
