import fc from "fast-check";
import type { Tier } from "../../contracts/routing.ts";
import type { NumberRange } from "../../domain/alarms/batch-numbers.ts";
import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import {
	type AccountRow,
	accountsByEpoch,
	dayBefore,
	exitCodeOf,
	Findings,
	GapBook,
	type GapNote,
	judgeId,
	type NumberedRow,
	without,
} from "../../domain/jobs/reconcile.ts";
import { NOW_MS } from "./samples.ts";

const DAY = "2026_11_22";
const WATERMARK_MS = 1_000;
const account = (epoch: string, settled: number, more: Partial<AccountRow> = {}): AccountRow => ({
	epoch,
	day: DAY,
	settled,
	voids: [],
	atMs: 0,
	...more,
});
const rows = (epoch: string, numbers: number[], more: Partial<NumberedRow> = {}): NumberedRow[] =>
	numbers.map((number) => ({ epoch, number, atMs: 0, isInside: true, ...more }));

type Gap = Parameters<GapNote>;
function gapsOf(accounts: AccountRow[], seen: NumberedRow[], allAnswer = true): Gap[] {
	const gaps: Gap[] = [];
	const note = (...gap: Gap) => void gaps.push(gap);
	const book = new GapBook(accountsByEpoch(accounts, DAY), WATERMARK_MS, () => allAnswer, note);
	for (const row of seen) book.see(row);
	book.end();
	return gaps;
}

describe("a promised number without a row", () => {
	test("is lost in the middle, at the beginning, and as the last of its process", () => {
		expect(gapsOf([account("e", 6)], rows("e", [2, 3, 5]))).toEqual([
			["e", [1, 1], "lost"],
			["e", [4, 4], "lost"],
			["e", [6, 6], "lost"],
		]);
	});

	test("is lost also when its process has no row at all, or is followed by another process", () => {
		expect(gapsOf([account("a", 3), account("b", 2)], rows("b", [1]))).toEqual([
			["b", [2, 2], "lost"],
			["a", [1, 3], "lost"],
		]);
	});

	test("is none when every number has its row", () => {
		expect(gapsOf([account("e", 3)], rows("e", [1, 2, 3]))).toEqual([]);
	});

	test("is not judged while the low-watermark has not passed its promise, or a cluster does not answer", () => {
		expect(gapsOf([account("e", 1, { atMs: WATERMARK_MS })], [])).toEqual([["e", [1, 1], "pending"]]);
		expect(gapsOf([account("e", 1)], [], false)).toEqual([["e", [1, 1], "unjudged"]]);
	});

	test("is no loss where it was refused or answered as unknown; a row of it is fine, too", () => {
		const voids: NumberRange[] = [
			[5, 6],
			[2, 3],
		];
		expect(gapsOf([account("e", 7, { voids })], rows("e", [1, 3, 4]))).toEqual([["e", [7, 7], "lost"]]);
	});
});

describe("the days before", () => {
	test("say where to begin: what was settled then is their business", () => {
		const accounts = [account("e", 4, { day: "2026_11_21" }), account("e", 6)];
		expect(gapsOf(accounts, rows("e", [3, 6]))).toEqual([["e", [5, 5], "lost"]]);
	});

	test("are not judged by themselves", () => {
		const before = account("e", 9, { day: "2026_11_21" });
		expect(gapsOf([before], rows("e", [12, 14], { isInside: false }))).toEqual([]);
	});

	test.each([
		["2026_11_22", "2026_11_21"],
		["2026_03_01", "2026_02_28"],
		["2026_01_01", "2025_12_31"],
	])("of %s are %s", (day, before) => {
		expect(dayBefore(day)).toBe(before);
	});
});

test("of accounts on several clusters the one that has settled most counts", () => {
	const accounts = [account("e", 2, { atMs: 5 }), account("e", 3, { atMs: 7 }), account("e", 1, { atMs: 1 })];
	expect(accountsByEpoch(accounts, DAY).get("e")).toMatchObject({ settled: 3, atMs: 7 });
});

describe("above what was settled", () => {
	test("a gap before an old row is unaccounted: its process died before it could say", () => {
		expect(gapsOf([account("e", 1)], rows("e", [1, 4]))).toEqual([["e", [2, 3], "unaccounted"]]);
	});

	test("a gap before a young row is still in flight", () => {
		expect(gapsOf([account("e", 1)], rows("e", [1, 4], { atMs: WATERMARK_MS }))).toEqual([]);
	});

	test("a gap over both sides is cut where the promises end", () => {
		expect(gapsOf([account("e", 2)], rows("e", [4]))).toEqual([
			["e", [1, 2], "lost"],
			["e", [3, 3], "unaccounted"],
		]);
	});

	test("a process without an account is judged between its first and last row only", () => {
		expect(gapsOf([], rows("test", [7, 9]))).toEqual([["test", [8, 8], "unaccounted"]]);
	});
});

test("whatever is promised, void and stored, the gaps are exactly what is promised and not stored", () => {
	const kind = fc.constantFrom("stored", "void", "lost", "void but stored");
	fc.assert(
		fc.property(fc.array(kind, { maxLength: 60 }), (kinds) => {
			const numbersOf = (...wanted: string[]) => kinds.flatMap((one, at) => (wanted.includes(one) ? [at + 1] : []));
			const voids = numbersOf("void", "void but stored").map((number): NumberRange => [number, number]);
			const seen = rows("e", numbersOf("stored", "void but stored"));
			const gaps = gapsOf([account("e", kinds.length, { voids })], seen);
			const lost = gaps.flatMap(([, [from, to]]) => Array.from({ length: to - from + 1 }, (_, at) => from + at));
			expect(lost).toEqual(numbersOf("lost"));
			expect(gaps.every(([, , as]) => as === "lost")).toBe(true);
		}),
	);
});

test("what is taken out of a run leaves its pieces", () => {
	expect(
		without(
			[1, 10],
			[
				[0, 2],
				[2, 4],
				[6, 6],
				[9, 99],
			],
		),
	).toEqual([
		[5, 5],
		[7, 8],
	]);
});

describe("an id", () => {
	const target = (tier: Tier) => ({
		cluster: "c0",
		database: "alarm_s01",
		collection: "alarms_2026_11",
		uuid: "",
		tier,
	});
	const home = { at: "c0/alarm_s01.alarms_2026_11" };
	const elsewhere = { at: "c1/alarm_s01.alarms_2026_11" };
	const sound = { proper: target("service"), source: null, hasFailure: false, isOld: true, allAnswer: true };

	test("with its one slot is what the slot says", () => {
		expect(judgeId([home], sound)).toBe("stored");
		expect(judgeId([{ ...home, outcome: "duplicate" }], sound)).toBe("duplicate");
	});

	test("without a slot is missing, unless it may be on its way or nobody can say", () => {
		expect(judgeId([], sound)).toBe("missing");
		expect(judgeId([], { ...sound, isOld: false })).toBe("pending");
		expect(judgeId([], { ...sound, allAnswer: false })).toBe("unjudged");
	});

	test("of a closed month has its failure row, and that is enough", () => {
		expect(judgeId([], { ...sound, proper: null, hasFailure: true })).toBe("failed");
		expect(judgeId([], { ...sound, proper: null })).toBe("missing");
	});

	test("in two places is doubled, also when neither is its own; while its month moves the copy is expected", () => {
		expect(judgeId([home, elsewhere], sound)).toBe("doubled");
		expect(judgeId([elsewhere, elsewhere], sound)).toBe("doubled");
		expect(judgeId([home, elsewhere], { ...sound, proper: target("moving") })).toBe("stored");
	});

	test("in the archive and in what was its source is stored, until the source has its new name; in the source alone it is missing", () => {
		const own = {
			cluster: "a0",
			database: "alarm_a01",
			collection: "alarms_2026_11",
			uuid: "",
			tier: "archive" as const,
		};
		const archived = { ...sound, proper: own, source: target("service") };
		const inArchive = { at: "a0/alarm_a01.alarms_2026_11" };
		expect(judgeId([inArchive, home], archived)).toBe("stored");
		expect(judgeId([inArchive, elsewhere], archived)).toBe("doubled");
		expect(judgeId([inArchive, home], { ...archived, source: null })).toBe("doubled");
		expect(judgeId([home], archived)).toBe("missing");
		expect(judgeId([], archived)).toBe("missing");
	});

	test("in one wrong place is misplaced", () => {
		expect(judgeId([elsewhere], sound)).toBe("misplaced");
		expect(judgeId([home], { ...sound, proper: null })).toBe("misplaced");
	});
});

describe("the report", () => {
	const none = { from: "2026-11-22", to: "2026-11-22", watermarkMs: NOW_MS, unknown: [] };
	const id = newAlarmId("u", NOW_MS);

	test("of a clean ledger has nothing wrong: exit code 0", () => {
		const findings = new Findings();
		findings.noteBatch(2);
		findings.noteId(id, "stored", []);
		findings.noteId(id, "expired", []);
		findings.noteGap("e", [3, 4], "unaccounted");
		const report = findings.report(none);
		expect(report).toMatchObject({ batches: 1, ids: 2, slots: { stored: 1, expired: 1, failed: 0 }, wrong: [] });
		expect(report.unaccounted).toEqual({ count: 2, kept: [{ epoch: "e", numbers: [3, 4] }] });
		expect(exitCodeOf(report)).toBe(0);
	});

	test.each<[string, (findings: Findings) => void]>([
		["a lost batch", (findings) => findings.noteGap("e", [1, 1], "lost")],
		["a missing id", (findings) => findings.noteId(id, "missing", [])],
		["a doubled id", (findings) => findings.noteId(id, "doubled", [{ at: "a" }, { at: "b" }])],
		["a misplaced id", (findings) => findings.noteId(id, "misplaced", [{ at: "a" }])],
		["an id in two batches", (findings) => findings.noteTwice(id, ["e:1", "e:2"])],
	])("with %s says so: exit code 1, whatever else is not known", (_what, note) => {
		const findings = new Findings();
		note(findings);
		findings.noteId(id, "pending", []);
		const report = findings.report({ ...none, unknown: ["?"] });
		expect(report.wrong).toEqual([expect.stringMatching(/^1 /)]);
		expect(exitCodeOf(report)).toBe(1);
	});

	test.each<[string, (findings: Findings) => void]>([
		["a batch on its way", (findings) => findings.noteGap("e", [1, 1], "pending")],
		["an id on its way", (findings) => findings.noteId(id, "pending", [])],
		["a batch that cannot be judged", (findings) => findings.noteGap("e", [1, 1], "unjudged")],
		["an id that cannot be judged", (findings) => findings.noteId(id, "unjudged", [])],
	])("with %s cannot call the ledger clean: exit code 2", (_what, note) => {
		const findings = new Findings();
		note(findings);
		expect(exitCodeOf(findings.report(none))).toBe(2);
	});

	test("that had to leave a cluster out is not clean either", () => {
		expect(exitCodeOf(new Findings().report({ ...none, unknown: ["the cluster c1 did not answer"] }))).toBe(2);
	});

	test("counts ids that were erased apart, also those that were erased while it was made", () => {
		const findings = new Findings();
		findings.noteBatch(2, 3);
		findings.noteId(id, "stored", []);
		findings.noteErased();
		const report = findings.report(none);
		expect(report).toMatchObject({ batches: 1, ids: 1, erased: 4, slots: { stored: 1 }, wrong: [] });
		expect(exitCodeOf(report)).toBe(0);
	});

	test("counts everything and keeps the first hundred", () => {
		const findings = new Findings();
		const ids = Array.from({ length: 150 }, () => newAlarmId("u", NOW_MS));
		for (const one of ids) findings.noteId(one, "missing", []);
		expect(findings.report(none).missing).toEqual({ count: 150, kept: ids.slice(0, 100).map(showId) });
	});
});
