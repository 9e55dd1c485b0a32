import fc from "fast-check";
import type { Caller } from "../../contracts/access.ts";
import { encodeItem } from "../../domain/alarms/batch.ts";
import {
	countThatFits,
	decideAgain,
	describedBy,
	failureRequest,
	type ListedFailure,
	mergeFailures,
	parseFailureCursor,
	rejectUnclear,
	showFailureCursor,
	toFailure,
} from "../../domain/alarms/failures.ts";
import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import { showCursor } from "../../domain/alarms/paging.ts";
import type { FailureRow } from "../../domain/alarms/rows.ts";
import { toCsv } from "../../lib/http/failures-csv.ts";
import { iso, NOW_MS, queued } from "./samples.ts";

const OPERATOR: Caller = { role: "operator", name: "ops" };
const PRODUCER: Caller = { role: "producer", name: "core-banking" };

function failure(own: Partial<FailureRow> = {}): FailureRow {
	const _id = own._id ?? newAlarmId("u1", NOW_MS);
	const item = encodeItem(_id, queued()).line;
	return { _id, code: "CLOCK_SKEW", message: "m", lane: "bulk", item, failedAt: new Date(NOW_MS), ...own };
}
const thrownBy = (deed: () => unknown) => {
	try {
		deed();
	} catch (error) {
		return error;
	}
	return null;
};

describe("a cursor of failures", () => {
	test("leads back to its place", () => {
		const { _id, failedAt } = failure();
		expect(parseFailureCursor(showFailureCursor({ _id, failedAt }))).toEqual({ failedAtMs: NOW_MS, id: _id });
	});

	test.each([
		["that was cut", showFailureCursor(failure()).slice(0, -1)],
		["with a tail", `${showFailureCursor(failure())}A`],
		["of an inbox", showCursor(newAlarmId("u1", NOW_MS))],
		["of another version", `B${showFailureCursor(failure()).slice(1)}`],
		["that is none", "x"],
	])("%s is refused", (_, cursor) => {
		expect(parseFailureCursor(cursor)).toBeNull();
		expect(thrownBy(() => failureRequest({ cursor }, OPERATOR))).toMatchObject({ type: "BROKEN_CURSOR" });
	});
});

describe("merging", () => {
	const rows = fc.array(fc.record({ ms: fc.integer({ min: 0, max: 3 }), byte: fc.integer({ min: 0, max: 255 }) }), {
		maxLength: 40,
	});
	const toRows = (list: { ms: number; byte: number }[]): ListedFailure[] =>
		list.map(({ ms, byte }, at) => failure({ _id: Buffer.alloc(20, Buffer.from([byte, at])), failedAt: new Date(ms) }));
	const sorted = (list: ListedFailure[]) =>
		list.toSorted((a, b) => b.failedAt.getTime() - a.failedAt.getTime() || Buffer.compare(b._id, a._id));

	test("lists of shards gives the newest of all, as one sorted list would", () => {
		fc.assert(
			fc.property(rows, fc.integer({ min: 1, max: 50 }), (list, limit) => {
				const all = toRows(list);
				const shards = [0, 1, 2].map((shard) => sorted(all.filter((_, at) => at % 3 === shard)));
				const merged = mergeFailures(shards, limit);
				expect(merged.rows).toEqual(sorted(all).slice(0, limit));
				expect(merged.more).toBe(all.length > limit);
			}),
		);
	});
});

describe("a request for failures", () => {
	test("of an operator is for everybody's, or for those it names", () => {
		expect(failureRequest({}, OPERATOR)).toEqual({ limit: 20, after: null, discarded: false });
		expect(failureRequest({ producer: "x", code: "MONTH_CLOSED" }, OPERATOR)).toMatchObject({
			producer: "x",
			code: "MONTH_CLOSED",
		});
	});

	test("of a producer is for its own, whatever it leaves out, and for nobody else's", () => {
		expect(failureRequest({}, PRODUCER)).toMatchObject({ producer: "core-banking" });
		expect(failureRequest({ producer: "core-banking" }, PRODUCER)).toMatchObject({ producer: "core-banking" });
		expect(thrownBy(() => failureRequest({ producer: "x" }, PRODUCER))).toMatchObject({ type: "FORBIDDEN" });
	});

	test("has its moments in ms, and refuses one that does not exist", () => {
		expect(failureRequest({ from: iso(NOW_MS), to: iso(NOW_MS + 1) }, OPERATOR)).toMatchObject({
			fromMs: NOW_MS,
			toMs: NOW_MS + 1,
		});
		const fault = thrownBy(() => failureRequest({ to: "2026-02-30T00:00:00Z" }, OPERATOR));
		expect(fault).toMatchObject({ type: "VALIDATION_FAILED", data: { faults: [{ field: "to" }] } });
	});
});

describe("a redrive", () => {
	test.each([
		["neither ids nor filter", {}, "ids"],
		["both", { ids: ["x"], filter: {} }, "filter"],
		["a limit beside ids", { ids: ["x"], limit: 1 }, "limit"],
	])("with %s is refused", (_, request, field) => {
		expect(thrownBy(() => rejectUnclear(request))).toMatchObject({
			type: "VALIDATION_FAILED",
			data: { faults: [{ field }] },
		});
	});

	test.each([
		["ids", { ids: ["x"] }],
		["a filter", { filter: {} }],
		["a filter and a limit", { filter: {}, limit: 5 }],
	])("with %s is clear", (_, request) => {
		expect(thrownBy(() => rejectUnclear(request))).toBeNull();
	});

	test("decides anew on the item as it came: what failed for its time becomes an alarm under its id", () => {
		const row = failure();
		expect(decideAgain(row, NOW_MS)).toMatchObject({
			id: row._id,
			slot: { _id: row._id, userId: "u1", title: "입금" },
		});
	});

	test("judges the time of an id by now: what was ahead when it failed is an alarm once it is not", () => {
		const row = failure();
		expect(decideAgain(row, NOW_MS - 60_000).slot).toHaveProperty("userId");
		expect(decideAgain(row, NOW_MS - 60_001)).toMatchObject({ slot: { why: { code: "CLOCK_SKEW" } } });
	});

	test("of what is past its expiry comes to a tombstone", () => {
		const _id = newAlarmId("u1", NOW_MS);
		const { line } = encodeItem(_id, queued({ expiresAt: iso(NOW_MS + 1) }));
		expect(decideAgain(failure({ _id, item: line }), NOW_MS + 1)).toMatchObject({ slot: { outcome: "expired" } });
	});

	test.each([
		["that cannot be read", "no item at all"],
		["of another id", encodeItem(newAlarmId("u2", NOW_MS), queued()).line],
	])("of an item %s fails again in its own slot", (_, item) => {
		const row = failure({ item });
		expect(decideAgain(row, NOW_MS)).toMatchObject({
			id: row._id,
			slot: { _id: row._id, outcome: "failed", why: { code: "CORRUPT_ITEM" } },
		});
	});
});

describe("a failure as it is shown", () => {
	test("tells its cause and whereabouts, and nothing of its content", () => {
		const row = failure({ producer: "p", userId: "u1", category: "card" });
		expect(toFailure(row)).toEqual({
			id: showId(row._id),
			code: "CLOCK_SKEW",
			message: "m",
			producer: "p",
			userId: "u1",
			category: "card",
			lane: "bulk",
			acceptedAt: iso(NOW_MS),
			failedAt: iso(NOW_MS),
		});
	});

	test("tells who discarded it, why and when", () => {
		const discarded = { by: "ops", why: "old", at: new Date(NOW_MS) };
		expect(toFailure(failure({ discarded })).discarded).toEqual({ by: "ops", why: "old", at: iso(NOW_MS) });
	});

	test("was accepted when its id says so, or, sent ahead, when the item says so", () => {
		const sendAt = iso(NOW_MS + 60_000);
		const { line } = encodeItem(newAlarmId("u1", NOW_MS + 60_000), queued({ sendAt }));
		expect(describedBy(line)).toEqual({ category: "transfer", acceptedAt: new Date(NOW_MS) });
		expect(describedBy(encodeItem(newAlarmId("u1", NOW_MS), queued()).line)).toEqual({ category: "transfer" });
		expect(describedBy("broken")).toEqual({});
	});

	test("goes into an answer as long as it fits, and at least once", () => {
		const rows = [failure(), failure(), failure()];
		const bytes = Buffer.byteLength(JSON.stringify(toFailure(failure())));
		expect(countThatFits(rows, Number.POSITIVE_INFINITY)).toBe(3);
		expect(countThatFits(rows, 2 * bytes)).toBe(2);
		expect(countThatFits(rows, 1)).toBe(1);
		expect(countThatFits([], 1)).toBe(0);
	});
});

describe("failures as CSV", () => {
	const lines = (csv: string) => csv.slice(1).split("\r\n");

	test("begin with a byte order mark and a header, and have a line each", () => {
		const csv = toCsv([toFailure(failure({ producer: "p", userId: "u1" }))]);
		expect(csv.codePointAt(0)).toBe(0xfeff);
		expect(lines(csv)).toEqual([
			"id,code,message,producer,userId,category,lane,acceptedAt,failedAt,discardedBy,discardedWhy,discardedAt",
			expect.stringMatching(/CLOCK_SKEW,m,p,u1,,bulk,2026-11-22T10:00:00.000Z,2026-11-22T10:00:00.000Z,,,$/),
			"",
		]);
	});

	test("are a header alone when there are none", () => {
		expect(lines(toCsv([]))).toHaveLength(2);
	});

	test.each(["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "\u0000=1", "\u009f=1", "＝1"])(
		"%j cannot run as a formula",
		(why) => {
			const discarded = { by: "ops", why, at: new Date(NOW_MS) };
			expect(toCsv([toFailure(failure({ discarded }))])).toContain(`'${why}`);
		},
	);

	test("keep commas, quotes and line ends inside their cell", () => {
		const csv = toCsv([toFailure(failure({ message: 'a,"b"\nc' }))]);
		expect(csv).toContain(',"a,""b""\nc",');
	});
});
