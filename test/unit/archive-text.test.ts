import type { ArchivePlan, ArchiveState, MonthState, Run } from "../../contracts/archive.ts";
import { newRun } from "../../domain/jobs/runs.ts";
import { requestOf, strayWords } from "../../ops/archive-command.ts";
import { answerText, erasedText, planText, stateText, stoppedText } from "../../ops/archive-text.ts";
import { iso, NOW_MS, SECOND_MS } from "./samples.ts";

const run = (own: Partial<Run>): Run => ({
	...newRun("archive-s07-2026_08", { kind: "archive", shard: 7, month: "2026_08" }, "ops", NOW_MS),
	...own,
});
const month = (own: Partial<MonthState>): MonthState => ({
	month: "2026_08",
	shards: { service: 10, moving: 1, archive: 5, dropped: 0 },
	rows: 1_200_000,
	bytes: 62_000_000,
	...own,
});
const state = (own: Partial<ArchiveState>): ArchiveState => ({
	at: iso(NOW_MS),
	node: "mover-1",
	months: [],
	open: [],
	ended: [],
	lastLook: null,
	nextLook: iso(NOW_MS + 60 * SECOND_MS),
	unavailable: [],
	...own,
});
const plan = (own: Partial<ArchivePlan> = {}): ArchivePlan => ({
	at: iso(NOW_MS),
	newestStored: iso(NOW_MS),
	lowWatermark: null,
	due: [],
	kept: [],
	refused: null,
	...own,
});

describe("the status", () => {
	test("shows each month with its tiers and a bar of its size", () => {
		const text = stateText(state({ months: [month({}), month({ month: "2026_07", bytes: 31_000_000, rows: null })] }));
		const [heads, august, july] = text.split("\n");
		expect(heads).toContain("shards by tier");
		expect(august).toContain("10 service, 1 moving, 5 archive  1,200,000  62 MB");
		expect(august).toContain("█".repeat(24));
		expect(july).toContain("?");
		expect(july).toContain(`${"█".repeat(12)}${"░".repeat(12)}`);
	});

	test("shows a running run with its bar, its rate and the time left", () => {
		const at = (done: number, ms: number) =>
			run({ state: "running", step: "taken", node: "m", rows: { done, total: 4_000 }, updatedAt: iso(NOW_MS + ms) });
		const text = stateText(state({ open: [at(2_000, 2_000)] }), state({ open: [at(1_000, 0)] }));
		expect(text).toContain(`[${"█".repeat(12)}${"░".repeat(12)}] 2,000 of 4,000  500 rows/s, 4 s left`);
		expect(stateText(state({ open: [at(2_000, 0)] }))).toContain("2,000 of 4,000  (copying, on m)");
	});

	test("shows how much of a copy is verified, and not at the speed of the copying", () => {
		const at = (verified: number, ms: number, step = "caught up") =>
			run({
				state: "running",
				step,
				node: "m",
				rows: { done: 4_000, total: 4_000, verified },
				updatedAt: iso(NOW_MS + ms),
			});
		const text = stateText(state({ open: [at(1_000, 1_000)] }), state({ open: [at(500, 0)] }));
		expect(text).toContain(
			`[${"█".repeat(6)}${"░".repeat(18)}] 1,000 of 4,000  500 rows/s, 6 s left  (verifying, on m)`,
		);
		const begun = stateText(state({ open: [at(1_000, 1_000)] }), state({ open: [at(0, 0, "copied")] }));
		expect(begun).toContain("1,000 of 4,000  (verifying, on m)");
	});

	test("tells what waits and why, what was refused, and which cluster is silent", () => {
		const reason = { code: "CLUSTER_AWAY", message: "the cluster a0 does not answer" };
		const waitingSince = iso(NOW_MS - 120 * SECOND_MS);
		const refused = run({ state: "refused", reason: { code: "COPY_DIFFERS", message: "3 rows" } });
		const text = stateText(
			state({ open: [run({ state: "waiting", reason, waitingSince })], ended: [refused], unavailable: ["a0"] }),
		);
		expect(text).toContain("archive-s07-2026_08 waiting for 2 min: CLUSTER_AWAY, the cluster a0 does not answer");
		expect(text).toContain("REFUSED archive-s07-2026_08: COPY_DIFFERS, 3 rows");
		expect(text).toContain("DOES NOT ANSWER: a0");
	});

	test("tells why nothing is done, and when the mover looks next", () => {
		const lastLook = { at: iso(NOW_MS), refused: { code: "CLOCK_DOUBTFUL", message: "two clocks" }, kept: [] };
		expect(stateText(state({ lastLook }))).toContain("CLOCK_DOUBTFUL: two clocks");
		const before = { at: iso(NOW_MS), refused: null, kept: [] };
		expect(stateText(state({ lastLook: before }))).toMatch(/; it looked at \S+Z$/);
		expect(stateText(state({ nextLook: null }))).toContain("looks only when it is asked");
		expect(stateText(state({ open: null }))).toContain("does not answer");
	});
});

test("a plan is told by month, with what is kept back", () => {
	const due = [1, 2].map((shard) => ({ kind: "archive", shard, month: "2026_08" }) as const);
	const kept = [{ month: "2025_01", shards: [3], reason: { code: "TOO_MANY_DROPS", message: "3 months" } }];
	const text = planText(plan({ due, kept }));
	expect(text).toContain("archive 2026_08: 2 shards (1-2)");
	expect(text).toContain("kept 2025_01, shard 3: TOO_MANY_DROPS, 3 months");
	expect(planText(plan())).toContain("Nothing is due.");
	expect(planText(plan({ refused: { code: "CLOCK_DOUBTFUL", message: "why" } }))).toContain("CLOCK_DOUBTFUL: why");
});

test("an answer tells what was begun and what was left, and the plan when nothing was", () => {
	const refused = run({ state: "refused", reason: { code: "COPY_DIFFERS", message: "3 rows" } });
	const text = answerText({ begun: [], skipped: [refused], plan: plan() });
	expect(text).toContain("COPY_DIFFERS, 3 rows (--fresh takes it up again)");
	expect(text).toContain("Nothing is due.");
	const many = Array.from({ length: 12 }, () => run({}));
	expect(answerText({ begun: many.slice(1, 2), skipped: [], plan: plan() })).toContain("1 run is planned");
	expect(answerText({ begun: many, skipped: [], plan: plan() })).toContain("… and 2 more");
	expect(stoppedText([])).toContain("nothing to stop");
	expect(stoppedText([run({})])).toContain("archive-s07-2026_08");
});

test("an erase is told by what it has removed", () => {
	const erase = run({
		id: "erase-1",
		kind: "erase",
		month: null,
		step: "swept",
		node: "m",
		removed: { alarms: 1_200 },
	});
	expect(stateText(state({ open: [{ ...erase, state: "running" }] }))).toContain(
		'erase-1 removed 1,200 alarms  (after "swept", on m)',
	);
	const ended = [{ ...erase, state: "done" as const, removed: null, endedAt: iso(NOW_MS) }];
	expect(stateText(state({ ended }))).toContain(`last done: erase-1, ${iso(NOW_MS)}, removed nothing`);
	expect(erasedText(erase)).toContain("archive.mover.find --id erase-1");
	expect(stoppedText([erase])).toContain("until `archive erase` of that customer");
	expect(stoppedText([run({})])).not.toContain("erase");
});

test("options of the console become a request with only what was given", () => {
	expect(requestOf({})).toEqual({});
	expect(requestOf({ month: "2026_08", shard: "0", rate: "5000", confirmDrops: "3", trustClock: true })).toEqual({
		month: "2026_08",
		shard: 0,
		rate: 5_000,
		confirmDrops: 3,
		trustClock: true,
	});
});

test("an option that is no number asks for nothing, instead of everything", () => {
	for (const wrong of ["x", "", "-1", "1.5", "1e3"]) {
		const faults = [expect.objectContaining({ field: "shard", message: expect.stringContaining(`"${wrong}"`) })];
		expect(() => requestOf({ shard: wrong })).toThrow(expect.objectContaining({ data: { faults } }));
	}
	expect(() => requestOf({ rate: "fast" })).toThrow();
	expect(() => requestOf({ confirmDrops: "all" })).toThrow();
});

test("words that a command does not take are refused, and not passed over", () => {
	expect(strayWords("run", { userId: "2026_08" })).toContain("--month");
	expect(strayWords("plan", { month: "2026_08" })).toContain("takes no options");
	expect(strayWords("erase", { userId: "u1", fresh: true })).toContain("takes no options");
	expect(strayWords("run", { month: "2026_08" })).toBeNull();
	expect(strayWords("erase", { userId: "u1" })).toBeNull();
});

test("many shards are told as ranges", () => {
	const shards = [0, 1, 2, 5, 7, 8];
	const kept = [{ month: "2025_01", shards, reason: { code: "SOURCE_KEPT", message: "m" } }];
	expect(planText(plan({ kept }))).toContain("kept 2025_01, 6 shards (0-2, 5, 7-8): SOURCE_KEPT");
});
