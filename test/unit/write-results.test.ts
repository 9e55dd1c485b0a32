import fc from "fast-check";
import { backoffMs, insertResults, type WriteReply } from "../../domain/alarms/write-results.ts";

const error = (index: number, code: number) => ({ index, code, errmsg: "" });

describe("the reply to an insert", () => {
	test("says stored when every document was inserted", () => {
		expect(insertResults({ ok: 1, n: 3 }, 3)).toEqual(["stored", "stored", "stored"]);
		expect(insertResults({ ok: 1, n: 1, writeErrors: [] }, 1)).toEqual(["stored"]);
	});

	test("says duplicate for a slot that stands, at its own place", () => {
		expect(insertResults({ ok: 1, n: 2, writeErrors: [error(1, 11_000)] }, 3)).toEqual([
			"stored",
			"duplicate",
			"stored",
		]);
	});

	test("says fenced for a validator that rejects everything", () => {
		expect(insertResults({ ok: 1, n: 0, writeErrors: [error(0, 121)] }, 1)).toEqual(["fenced"]);
	});

	test.each([2, 14, 22, 10_334, 17_280, 17_420])(
		"says rejected for error %i, which the same document meets again",
		(code) => {
			expect(insertResults({ ok: 1, n: 0, writeErrors: [error(0, code)] }, 1)).toEqual(["rejected"]);
		},
	);

	test.each([1, 11_600, 189, 91, 10_107, 361, 0, -1])("says unknown for any other error, such as %i", (code) => {
		expect(insertResults({ ok: 1, n: 0, writeErrors: [error(0, code)] }, 1)).toEqual(["unknown"]);
	});

	test("judges each document by its own error", () => {
		const writeErrors = [error(3, 11_000), error(0, 121), error(1, 2)];
		expect(insertResults({ ok: 1, n: 1, writeErrors }, 4)).toEqual(["fenced", "rejected", "stored", "duplicate"]);
	});
});

describe("a reply that does not add up", () => {
	test.each<[string, WriteReply]>([
		["has an empty list of errors and too small a count, as after a network error", { ok: 1, n: 1, writeErrors: [] }],
		["has no count", { ok: 1 }],
		["has nothing", {}],
		["counts none", { ok: 1, n: 0 }],
		["counts too many", { ok: 1, n: 3 }],
		["is not ok", { ok: 0, n: 2 }],
		["lacks its ok", { n: 2 }],
		["has fewer errors than are missing", { ok: 1, n: 0, writeErrors: [error(0, 11_000)] }],
		["has more errors than are missing", { ok: 1, n: 2, writeErrors: [error(0, 11_000)] }],
		["has a write-concern error", { ok: 1, n: 2, writeConcernError: { code: 64 } }],
		[
			"has a write-concern error beside duplicates only",
			{ ok: 1, n: 0, writeErrors: [error(0, 11_000), error(1, 11_000)], writeConcernError: { code: 64 } },
		],
	])("makes every document unknown when it %s", (_, reply) => {
		expect(insertResults(reply, 2)).toEqual(["unknown", "unknown"]);
	});

	test("never says stored of more documents than it counts", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 1, max: 20 }),
				fc.option(fc.integer({ min: 0, max: 25 }), { nil: undefined }),
				fc.uniqueArray(fc.integer({ min: 0, max: 19 })),
				(count, n, failing) => {
					const writeErrors = failing.filter((index) => index < count).map((index) => error(index, 11_000));
					const reply = { ok: 1, writeErrors, ...(n !== undefined && { n }) };
					const results = insertResults(reply, count);
					const stored = results.filter((result) => result === "stored").length;
					return results.length === count && stored <= (n ?? 0);
				},
			),
		);
	});
});

describe("the wait before another attempt", () => {
	test("doubles from the first to the most", () => {
		expect([1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(attempt, 250, 4_000, 1))).toEqual([
			250, 500, 1_000, 2_000, 4_000, 4_000,
		]);
	});

	test("is spread over the upper half", () => {
		expect([0, 0.5, 1].map((chance) => backoffMs(3, 250, 15_000, chance))).toEqual([500, 750, 1_000]);
	});

	test("counts from one: an attempt of zero or less waits like the first", () => {
		expect([0, -5].map((attempt) => backoffMs(attempt, 250, 15_000, 1))).toEqual([250, 250]);
	});

	test("is never shorter than half the first nor longer than the most", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 0, max: 100_000 }),
				fc.double({ min: 0, max: 1, noNaN: true }),
				(attempt, chance) => {
					const waitMs = backoffMs(attempt, 250, 15_000, chance);
					return waitMs >= 125 && waitMs <= 15_000 && Number.isInteger(waitMs);
				},
			),
		);
	});
});

test.each([
	[
		"one place twice",
		{
			ok: 1,
			n: 0,
			writeErrors: [
				{ index: 0, code: 11_000 },
				{ index: 0, code: 11_000 },
			],
		},
		2,
	],
	["a place that was not sent", { ok: 1, n: 1, writeErrors: [{ index: 5, code: 11_000 }] }, 2],
	["no number of rows", { ok: 1, writeErrors: [{ index: 0, code: 11_000 }] }, 1],
])("a reply with %s is unknown", (_what, reply, count) => {
	expect(insertResults(reply, count)).toEqual(Array(count).fill("unknown"));
});
