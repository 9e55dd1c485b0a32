import { type JsonObject, type JsonValue, LIMITS, type NewAlarm } from "../../contracts/alarm.ts";
import { contentFaults } from "../../domain/alarms/alarm-content.ts";
import { alarm, DAY_MS, iso, NOW_MS, SECOND_MS } from "./samples.ts";

/** The rules that an alarm breaks, as "field rule". */
function broken(own: Partial<NewAlarm>): string[] {
	return contentFaults(alarm(own), NOW_MS).map(({ field, rule }) => `${field} ${rule}`);
}
const message = (own: Partial<NewAlarm>) => contentFaults(alarm(own), NOW_MS)[0]?.message;

/** An object that is nested `depth` deep, itself included. */
function nested(depth: number): JsonObject {
	return depth === 1 ? {} : { in: nested(depth - 1) };
}
function nestedLists(depth: number): JsonValue {
	return depth === 1 ? [] : [nestedLists(depth - 1)];
}
/** An object of exactly `bytes` bytes as JSON. */
const ofBytes = (bytes: number) => ({ a: "x".repeat(bytes - '{"a":""}'.length) });

test("a plain alarm has no faults", () => {
	expect(broken({})).toEqual([]);
});

test("all faults of an alarm come together, each with its field, its rule and a sentence", () => {
	const faults = contentFaults(alarm({ title: " ", body: "x".repeat(4_001), data: { $a: 1 }, sendAt: iso(0) }), NOW_MS);
	expect(faults.map(({ field, rule }) => `${field} ${rule}`)).toEqual([
		"title blank",
		"body tooLong",
		"sendAt past",
		"data key",
	]);
	for (const fault of faults) expect(fault.message).toMatch(/^".+\.$/);
});

describe("the length of a text", () => {
	test.each([
		["title", "200 Latin letters", "x".repeat(200)],
		["title", "200 Korean syllables, which are 600 bytes", "가".repeat(200)],
		["title", "150 emoji, which are 600 bytes", "😀".repeat(150)],
		["body", "4,000 Latin letters", "x".repeat(4_000)],
		["body", "4,000 Korean syllables, which are 12,000 bytes", "가".repeat(4_000)],
		["body", "3,000 emoji, which are 12,000 bytes", "😀".repeat(3_000)],
	])("of a %s may be %s", (field, _, text) => {
		expect(broken({ [field]: text })).toEqual([]);
	});

	test.each([
		["title", "201 Latin letters", "x".repeat(201), "tooLong"],
		["title", "201 Korean syllables", "가".repeat(201), "tooLong"],
		["title", "201 emoji", "😀".repeat(201), "tooLong"],
		["title", "151 emoji, which are 604 bytes", "😀".repeat(151), "tooManyBytes"],
		["title", "149 emoji and 5 letters, which are 601 bytes", `${"😀".repeat(149)}xxxxx`, "tooManyBytes"],
		["body", "4,001 Latin letters", "x".repeat(4_001), "tooLong"],
		["body", "3,001 emoji, which are 12,004 bytes", "😀".repeat(3_001), "tooManyBytes"],
		["body", "2,999 emoji and 5 letters, which are 12,001 bytes", `${"😀".repeat(2_999)}xxxxx`, "tooManyBytes"],
	])("of a %s may not be %s", (field, _, text, rule) => {
		expect(broken({ [field]: text })).toEqual([`${field} ${rule}`]);
	});

	test("is counted in characters, where an emoji is one", () => {
		expect(message({ title: "😀".repeat(201) })).toBe('"title" has 201 characters; at most 200 fit.');
	});

	test("is told in bytes when those are too many", () => {
		expect(message({ title: "😀".repeat(151) })).toBe('"title" has 604 bytes of UTF-8; at most 600 fit.');
	});
});

describe("the text", () => {
	test.each([
		["a tab", "a\tb"],
		["a newline", "a\nb"],
		["a zero-width joiner inside an emoji", "👩‍👩‍👧"],
		["right-to-left letters", "مرحبا"],
	])("may hold %s", (_, title) => {
		expect(broken({ title })).toEqual([]);
	});

	test.each([
		["NUL", "a\u0000b"],
		["a bell", "a\u0007b"],
		["a backspace", "\bab"],
		["a vertical tab", "a\u000bb"],
		["an escape", "a\u001b[31m"],
		["the last control character", "a\u001f"],
		["DEL", "a\u007f"],
		["a lone high surrogate", "a\ud83d"],
		["a lone low surrogate", "\ude00a"],
		["two surrogates in the wrong order", "\ude00\ud83d"],
	])("may not hold %s", (_, text) => {
		expect(broken({ title: text })).toEqual(["title unprintable"]);
		expect(broken({ body: text })).toEqual(["body unprintable"]);
	});

	test.each([
		["spaces", "   "],
		["tabs and newlines", "\t\n"],
		["wide Korean spaces", "\u3000"],
	])("may not be only %s", (_, text) => {
		expect(broken({ title: text })).toEqual(["title blank"]);
		expect(broken({ body: text })).toEqual(["body blank"]);
	});
});

describe("what an alarm says", () => {
	const { title: _title, body: _body, ...bare } = alarm();
	const rules = (own: Partial<NewAlarm>) =>
		contentFaults({ ...bare, ...own }, NOW_MS).map(({ field, rule }) => `${field} ${rule}`);

	test("is title and body: both are missing from an empty one", () => {
		expect(rules({})).toEqual(["title required", "body required"]);
	});

	test("is title and body: one alone is not enough", () => {
		expect(rules({ title: "t" })).toEqual(["body required"]);
		expect(rules({ body: "b" })).toEqual(["title required"]);
	});

	test("may be a template, with or without variables", () => {
		expect(rules({ template: "welcome" })).toEqual([]);
		expect(rules({ template: "welcome", variables: { name: "김" } })).toEqual([]);
	});

	test.each([{ title: "t" }, { body: "b" }, { title: "t", body: "b" }])("may not be a template beside %j", (own) => {
		expect(rules({ template: "welcome", ...own })).toEqual(["template exclusive"]);
	});
});

describe("a link", () => {
	test.each(["https://bank.example/x", "app://transfers/1", "myapp+v2://x", "datax://x"])("may be %s", (link) => {
		expect(broken({ link })).toEqual([]);
	});

	test.each([
		"javascript://%0aalert(1)",
		"JavaScript:alert(1)",
		"data://text/html,x",
		"vbscript://x",
		"file:///etc/passwd",
	])("may not be %s", (link) => {
		expect(broken({ link })).toEqual(["link scheme"]);
	});

	test("that is refused is named by its scheme only", () => {
		expect(message({ link: "javascript://secret" })).toBe('"link" must not use the scheme javascript.');
	});
});

describe("a moment", () => {
	test.each(["occurredAt", "sendAt", "expiresAt"])("in %s must exist", (field) => {
		expect(broken({ [field]: "2026-13-01T00:00:00Z" })).toEqual([`${field} moment`]);
		expect(broken({ [field]: "2026-11-22T25:00:00Z" })).toEqual([`${field} moment`]);
	});

	test("in occurredAt may be long past or to come", () => {
		expect(broken({ occurredAt: "1999-01-01T00:00:00Z" })).toEqual([]);
		expect(broken({ occurredAt: "2999-01-01T00:00:00Z" })).toEqual([]);
	});
});

describe("sendAt", () => {
	test("may be a minute past, for clocks differ", () => {
		expect(broken({ sendAt: iso(NOW_MS - 60 * SECOND_MS) })).toEqual([]);
	});

	test("may not be more than a minute past", () => {
		expect(broken({ sendAt: iso(NOW_MS - 60 * SECOND_MS - 1) })).toEqual(["sendAt past"]);
	});

	test("may be 30 days ahead, to the millisecond", () => {
		expect(LIMITS.sendAheadDays).toBe(30);
		expect(broken({ sendAt: iso(NOW_MS + 30 * DAY_MS) })).toEqual([]);
		expect(broken({ sendAt: iso(NOW_MS + 30 * DAY_MS + 1) })).toEqual(["sendAt tooFar"]);
	});
});

describe("expiresAt", () => {
	test("must be after now", () => {
		expect(broken({ expiresAt: iso(NOW_MS + 1) })).toEqual([]);
		expect(broken({ expiresAt: iso(NOW_MS) })).toEqual(["expiresAt past"]);
	});

	test("must be after sendAt", () => {
		const sendAt = iso(NOW_MS + DAY_MS);
		expect(broken({ sendAt, expiresAt: iso(NOW_MS + DAY_MS + 1) })).toEqual([]);
		expect(broken({ sendAt, expiresAt: sendAt })).toEqual(["expiresAt past"]);
	});

	test("must be after now also when sendAt is a little past", () => {
		expect(broken({ sendAt: iso(NOW_MS - SECOND_MS), expiresAt: iso(NOW_MS) })).toEqual(["expiresAt past"]);
	});
});

test("what is nested thousands deep is refused, not thrown on", () => {
	expect(broken({ data: { a: nestedLists(5_000) } })[0]).toMatch(/ tooDeep$/);
});

test.each(["1e400", "-1e400", "12345678901234567890"])("a number that would be rounded is refused: %s", (number) => {
	expect(broken({ data: JSON.parse(`{"list":[${number}]}`) })).toEqual(["data.list.0 number"]);
});

test("variables without a template are refused", () => {
	expect(broken({ variables: { a: 1 } })).toEqual(["variables exclusive"]);
});

test.each(["https://a\u0000b", "https://a\u0085", "https://\ud800"])(
	"a link with control characters or broken Unicode is refused: %j",
	(link) => {
		expect(broken({ link })).toEqual(["link unprintable"]);
	},
);

test.each(["2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z", "2026-13-01T00:00:00Z"])(
	"a moment that does not exist is refused: %s",
	(occurredAt) => {
		expect(broken({ occurredAt })).toEqual(["occurredAt moment"]);
	},
);

describe.each(["data", "variables"])("%s", (field) => {
	const { title: _title, body: _body, ...bare } = alarm();
	const filled = (value: JsonObject): NewAlarm =>
		field === "data" ? alarm({ data: value }) : { ...bare, template: "t", variables: value };
	const faultsOf = (value: JsonObject) => contentFaults(filled(value), NOW_MS);
	const rules = (value: JsonObject) => faultsOf(value).map(({ field: where, rule }) => `${where} ${rule}`);

	test("may hold what JSON can say", () => {
		expect(
			rules({ amount: 1.5, ok: true, none: null, list: [1, "둘", { three: [] }], "with space": "", "a-b": "\n" }),
		).toEqual([]);
	});

	test("may be 8,192 bytes as JSON, and not one more", () => {
		expect(Buffer.byteLength(JSON.stringify(ofBytes(LIMITS.dataBytes)))).toBe(8_192);
		expect(rules(ofBytes(8_192))).toEqual([]);
		expect(rules(ofBytes(8_193))).toEqual([`${field} tooManyBytes`]);
	});

	test("is measured in bytes, not in characters", () => {
		expect(rules({ a: "가".repeat(2_728) })).toEqual([]);
		expect(rules({ a: "가".repeat(2_729) })).toEqual([`${field} tooManyBytes`]);
	});

	test("may be nested 10 deep, and not 11", () => {
		expect(rules(nested(10))).toEqual([]);
		expect(rules(nested(11))).toEqual([`${field}${".in".repeat(10)} tooDeep`]);
	});

	test("may not be nested deeper by lists either", () => {
		expect(rules({ a: nestedLists(9) })).toEqual([]);
		expect(rules({ a: nestedLists(10) })[0]).toMatch(/ tooDeep$/);
	});

	test("may hold text and numbers at the deepest level", () => {
		expect(rules({ a: { b: { c: { d: { e: { f: { g: { h: { i: { j: "10" } } } } } } } } } })).toEqual([]);
	});

	test.each(["$where", "$", "a.b", ".", "a\u0000b", "\u0000", "", "__proto__", "constructor", "prototype"])(
		"may not have the key %j, at the top or below",
		(key) => {
			// JSON.parse makes a real key of __proto__, as a request does.
			const value = JSON.parse(`{${JSON.stringify(key)}: 1}`);
			expect(rules(value)).toEqual([`${field} key`]);
			expect(rules({ list: [{ in: value }] })).toEqual([`${field}.list.0.in key`]);
		},
	);

	test("may have a $ or a dot in a text, and a $ later in a key", () => {
		expect(rules({ price$: "$5.00", path: "a.b" })).toEqual([]);
	});

	test("may not hold broken Unicode", () => {
		expect(rules({ list: ["ok", "\ud83d"] })).toEqual([`${field}.list.1 unprintable`]);
	});

	test("has its first fault told with the place", () => {
		expect(faultsOf({ a: { $ne: 1 } })[0]?.message).toBe(`"${field}.a" has the key "$ne", which is not allowed.`);
	});
});
