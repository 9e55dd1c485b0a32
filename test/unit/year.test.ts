import { momentsOf, monthsBefore, shareOut } from "../../bench/year/calendar.ts";
import { byFate, differences } from "../../bench/year/inboxes.ts";
import { readOptions } from "../../bench/year/options.ts";
import { type MonthLine, pictureOf } from "../../bench/year/picture.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { addMonths, dayOf, monthOf } from "../../domain/time/periods.ts";
import { rowIn } from "../support/months.ts";

const MONTH = "2026_02";
/** Newest first, as an inbox has them. */
const inbox = () =>
	Array.from({ length: 5 }, (_, at) => rowIn(MONTH, "u", at)).sort((one, other) => one._id.compare(other._id));

test("an inbox is right when every alarm that was put in comes once, as it was, newest first", () => {
	const rows = inbox();
	expect(differences("u", rows.toReversed(), rows)).toEqual([]);
});

test.each([
	["one is missing", (rows: AlarmRow[]) => rows.slice(1), /u: 1 of 5 alarms are missing/],
	["one comes twice", (rows: AlarmRow[]) => [...rows, rows[0] as AlarmRow], /twice/],
	["one was never put in", (rows: AlarmRow[]) => [rowIn(MONTH, "u", 9), ...rows], /1 alarms were never put in/],
	["a text is another", ([first, ...rest]: AlarmRow[]) => [{ ...(first as AlarmRow), body: "?" }, ...rest], /differ/],
	["two have changed places", ([one, other, ...rest]: AlarmRow[]) => [other, one, ...rest] as AlarmRow[], /order/],
])("an inbox is wrong when %s", (_what, spoil, why) => {
	const rows = inbox();
	expect(differences("u", rows, spoil(rows)).join("\n")).toMatch(why);
});

test("what was put in is split by whether its month is gone", () => {
	const [old, young] = [rowIn(MONTH, "u", 1), rowIn("2026_03", "u", 1)];
	expect(byFate([old, young], new Set([MONTH]))).toEqual({ held: [young], dropped: [old] });
});

test("alarms are shared out over the months before this one, with more in December", () => {
	const months = monthsBefore(Date.parse("2027-01-15T00:00:00Z"), 15);
	expect([months[0], months.at(-1)]).toEqual(["2025_10", "2026_12"]);
	const shares = shareOut(months, 30_000);
	expect(Math.abs([...shares.values()].reduce((sum, one) => sum + one) - 30_000)).toBeLessThan(15);
	expect(shares.get("2025_12")).toBeGreaterThan(shares.get("2026_01") ?? 0);
});

test("a month's alarms come in their order, inside of it, and most on the day of salaries", () => {
	const month = addMonths("2026_01", 1);
	let seed = 1;
	const moments = momentsOf(month, 20_000, () => {
		seed = (seed * 16_807) % 2_147_483_647;
		return seed / 2_147_483_647;
	});
	expect(moments).toHaveLength(20_000);
	expect(moments).toEqual(moments.toSorted((one, other) => one - other));
	expect(new Set(moments.map(monthOf))).toEqual(new Set([month]));
	const days = [...Map.groupBy(moments, dayOf)].sort(([, one], [, other]) => other.length - one.length);
	expect(days[0]?.[0]).toBe("2026_02_25");
});

test("the picture has a line for each month: what lies where, what it took before, and what is gone", () => {
	const lines: MonthLine[] = [
		{ month: "2026_01", tier: "dropped", alarms: 1_000, serviceBytes: 4 << 20, archiveBytes: 1 << 20 },
		{ month: "2026_02", tier: "archive", alarms: 1_000, serviceBytes: 4 << 20, archiveBytes: 1 << 20 },
		{ month: "2026_03", tier: "service", alarms: 2_000, serviceBytes: 8 << 20, archiveBytes: null },
	];
	expect(pictureOf(lines).split("\n")).toEqual([
		"month    tier     alarms   service   archive  ratio",
		"2026-01  dropped   1,000  (4.0 MB)  (1.0 MB)   0.25",
		"2026-02  archive   1,000  (4.0 MB)    1.0 MB   0.25  ▒▒▒▒▒",
		`2026-03  service   2,000    8.0 MB                   ${"█".repeat(40)}`,
		"now 3,000 alarms: 8.0 MB in the service tier, 1.0 MB in the archive",
	]);
});

test.each([
	["a number of shards that is no power of two", ["--shards", "6"], /power of two/],
	[
		"an archive that ends before it begins",
		["--service-days", "90", "--archive-days", "90"],
		/more than --service-days/,
	],
	["less than a hundred alarms a month", ["--alarms", "99"], /whole number from 1500/],
])("the demonstration refuses %s", (_what, args, why) => {
	const write = jest.spyOn(process.stderr, "write").mockReturnValue(true);
	try {
		expect(() => readOptions(args)).toThrow(why);
	} finally {
		write.mockRestore();
	}
});
