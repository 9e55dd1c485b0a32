import { readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";
import { alarmsOf, due, keyDaysExpired, SHARD_CATALOG } from "../../domain/routing/collection-catalog.ts";
import { monthsDue } from "../../domain/routing/months.ts";
import { addDays, addMonths, dayOf, dayStartMs, monthOf } from "../../domain/time/periods.ts";
import { behindMonthEnd, EDGES, middleOf, NOW_MS, realMonth, realNow, realNowMs } from "../support/now.ts";

/** Tests ask the wall clock for a date through one file alone: what they expect cannot then depend on the day on which they run. */

const ROOT = join(__dirname, "../..");
/** The file through which all others ask. */
const CLOCK = "test/support/now.ts";
/** Files that speak of the clock of another process. */
const REPLACES_A_CLOCK = ["test/support/skew.ts"];

/** Everything that gives the present date, with the name that a report gives it. */
const ASKS: { what: string; pattern: RegExp }[] = [
	{ what: "the method now", pattern: /\bDate\s*(?:\?\.|\.)\s*now\b/ },
	{ what: "a method in brackets", pattern: /\bDate\s*(?:\?\.)?\s*\[/ },
	{
		what: "a new date without arguments",
		pattern: /\bnew\s+(?:globalThis\s*\.\s*)?Date\s*(?:\(\s*\)|(?![\w\s(.]|\s*[(.\w]))/,
	},
	{ what: "a call of the constructor", pattern: /(?<!\bnew\s+(?:globalThis\s*\.\s*)?)(?<![\w$])Date\s*\(/ },
	{ what: "a part of Date", pattern: /\}\s*=\s*(?:globalThis\s*\.\s*)?Date\b/ },
	{ what: "another name for Date", pattern: /[\w$]\s*=\s*(?:globalThis\s*\.\s*)?Date\b[ \t]*(?:[;,]|\n(?!\s*\.))/ },
	{ what: "the origin of performance", pattern: /\btimeOrigin\b/ },
	{ what: "the present of Temporal", pattern: /\bTemporal\s*\.\s*Now\b/ },
];

type Sources = Record<string, string>;

function readTests(): Sources {
	const names = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" });
	const paths = names.filter((name) => /\.[cm]?[tj]s$/.test(name)).map((name) => `test/${name.split(sep).join("/")}`);
	return Object.fromEntries(paths.map((path) => [path, readFileSync(join(ROOT, path), "utf8")]));
}

/** Every way in which a file asks the wall clock by itself. Comments count: none has to write it that way. */
function violations(sources: Sources): string[] {
	return Object.entries(sources)
		.filter(([path]) => path !== CLOCK && !REPLACES_A_CLOCK.includes(path))
		.flatMap(([path, text]) =>
			ASKS.filter(({ pattern }) => pattern.test(text)).map(({ what }) => `${path}: ${what}; ask ${CLOCK}`),
		);
}

/** Put into the made-up sources, so that this file is held to the rule as well. */
const D = "Date";

describe("the rule", () => {
	test("no test asks the wall clock for a date by itself", () => {
		expect(violations(readTests())).toEqual([]);
	});

	test("all kinds of tests are read, the clock and its exceptions among them", () => {
		const paths = Object.keys(readTests());
		for (const kind of ["unit", "integration", "ops", "e2e", "faults", "support"])
			expect(paths.filter((path) => path.startsWith(`test/${kind}/`)).length).toBeGreaterThan(0);
		expect(paths).toEqual(expect.arrayContaining([CLOCK, ...REPLACES_A_CLOCK, "test/unit/test-clock.test.ts"]));
	});

	test.each([
		["the method now", `const at = ${D}.now();`],
		["the method now", `const deps = { nowMs: ${D}.now };`],
		["the method now", `const at = globalThis.${D}\n\t.now();`],
		["a method in brackets", `const at = ${D}["now"]();`],
		["a new date without arguments", `const at = new ${D}();`],
		["a new date without arguments", `const at = new ${D}( ).getTime();`],
		["a new date without arguments", `const at = new globalThis.${D}();`],
		["a new date without arguments", `const at = new ${D};`],
		["a call of the constructor", `const text = ${D}();`],
		["a part of Date", `const { now } = ${D};`],
		["another name for Date", `const Clock = ${D};`],
		["the origin of performance", `const at = performance.time${"Origin"} + performance.now();`],
		["the present of Temporal", `const at = Temporal.${"Now"}.instant();`],
	])("reports %s: %s", (what, text) => {
		expect(violations({ "test/unit/made-up.test.ts": text })).toEqual([
			`test/unit/made-up.test.ts: ${what}; ask ${CLOCK}`,
		]);
	});

	test.each([
		"const at = new Date(NOW_MS);",
		'const at = Date.parse("2026-11-15T12:00:00.000Z");',
		"const at = Date.UTC(2026, 10, 15);",
		"const at = new Date(realNowMs() + 1_000);",
		"const tookMs = performance.now() - beganMs;",
		"const row: { at: Date; until?: Date } = read();",
		"expect(row).toEqual({ at: expect.any(Date) });",
		"const isDate = row.at instanceof Date;",
		'const day = header.get("Date");',
		"const limit = newDate(1);",
	])("lets pass: %s", (text) => {
		expect(violations({ "test/unit/made-up.test.ts": text })).toEqual([]);
	});
});

describe("the moments of tests", () => {
	test("the usual one is far from every edge", () => {
		expect(NOW_MS).toBe(middleOf(monthOf(NOW_MS)));
		expect(NOW_MS - dayStartMs(dayOf(NOW_MS))).toBe(12 * 3_600_000);
	});

	test("the real one is that of this machine", () => {
		const before = realNowMs();
		const between = realNow().getTime();
		expect(between).toBeGreaterThanOrEqual(before);
		expect(realNowMs()).toBeGreaterThanOrEqual(between);
		expect([monthOf(before), monthOf(realNowMs())]).toContain(addMonths(realMonth(-1), 1));
	});

	const everyDay = Array.from({ length: 3 * 366 }, (_, at) => dayStartMs(addDays("2026_11_01", at)));

	test("behind a month's end lies one month more, and key days are over: on every day and edge", () => {
		for (const nowMs of [NOW_MS, ...Object.values(EDGES), ...everyDay]) {
			const names = [alarmsOf(addMonths(monthOf(nowMs), -1)), ...due(SHARD_CATALOG, nowMs).map(({ name }) => name)];
			const places = Object.fromEntries(names.map((name) => [name, { tier: "service" as const, uuid: "u" }]));
			const then = behindMonthEnd(nowMs);
			expect(monthsDue(places, then)).toHaveLength(monthsDue(places, nowMs).length + 1);
			expect(keyDaysExpired(names, then)).not.toEqual([]);
		}
	});
});
