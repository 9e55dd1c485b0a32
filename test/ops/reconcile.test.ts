import { CommanderError } from "commander";
import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import { exitCodeOf, Findings } from "../../domain/jobs/reconcile.ts";
import { readOptions } from "../../ops/reconcile/options.ts";
import { toText, toVerdict } from "../../ops/reconcile/report.ts";

const NOW_MS = Date.parse("2026-11-22T00:30:00Z");
const options = (...args: string[]) => readOptions(args, NOW_MS);

describe("the days", () => {
	test.each([
		["yesterday and today", [], "2026_11_21", "2026_11_22"],
		["a whole week", ["--days", "7"], "2026_11_16", "2026_11_22"],
		["from one to today", ["--from", "2026-11-18"], "2026_11_18", "2026_11_22"],
		["one alone", ["--to", "2026-11-18"], "2026_11_18", "2026_11_18"],
		["between two", ["--from", "2026-11-17", "--to", "2026-11-19"], "2026_11_17", "2026_11_19"],
	])("are %s", (_what, args, from, to) => {
		expect(options(...args)).toMatchObject({ from, to, waitMs: 120_000, json: false });
	});

	test.each([
		["a day that does not exist", ["--from", "2026-02-30"]],
		["a day that is no longer kept", ["--from", "2026-11-15"]],
		["tomorrow", ["--to", "2026-11-23"]],
		["an end before the beginning", ["--from", "2026-11-22", "--to", "2026-11-21"]],
		["more days than are kept", ["--days", "8"]],
	])("are refused: %s", (_what, args) => {
		const write = jest.spyOn(process.stderr, "write").mockReturnValue(true);
		try {
			expect(() => options(...args)).toThrow(CommanderError);
		} finally {
			write.mockRestore();
		}
	});
});

describe("the report in words", () => {
	const days = { from: "2026-11-22", to: "2026-11-22", watermarkMs: NOW_MS, unknown: [] };
	const id = newAlarmId("u", NOW_MS);

	test("names what is wrong, with its ids and batches", () => {
		const findings = new Findings();
		findings.noteBatch(2);
		findings.noteId(id, "doubled", [{ at: "c0/a" }, { at: "c1/a" }]);
		findings.noteGap("e", [3, 5], "lost");
		const report = findings.report(days);
		expect(toText(report)).toContain(`DOUBLED: ids with more than one slot: 1\n  ${showId(id)} in c0/a and c1/a`);
		expect(toText(report)).toContain("batches 3 to 5 of process e");
		expect(toVerdict(report, exitCodeOf(report))).toBe(
			"Not right: 3 promised batches were never stored, 1 ids have more than one slot.",
		);
	});

	test("tells of erased ids, when there are any", () => {
		const findings = new Findings();
		findings.noteBatch(0, 3);
		expect(toText(findings.report(days))).toContain("Erased with their customers: 3 ids more.");
		expect(toText(new Findings().report(days))).not.toContain("Erased");
	});

	test("shows the first of a long list", () => {
		const findings = new Findings();
		for (let n = 0; n < 20; n++) findings.noteId(id, "missing", []);
		const lines = toText(findings.report(days)).split("\n");
		expect(lines.filter((line) => line.includes(showId(id)))).toHaveLength(10);
		expect(lines).toContain("  … (--json lists more)");
	});

	test("never calls right what is not known", () => {
		const findings = new Findings();
		findings.noteGap("e", [1, 4], "pending");
		const report = findings.report({ ...days, watermarkMs: null, unknown: ["the cluster c1 did not answer"] });
		expect(toVerdict(report, exitCodeOf(report))).toMatch(
			/^Not known: the cluster c1 did not answer, 4 batches and 0 ids may/,
		);
		expect(toText(report)).toContain("Does a worker run?");
	});
});
