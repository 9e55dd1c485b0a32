import fc from "fast-check";
import { RUN_STATES, type Run, type RunState } from "../../contracts/archive.ts";
import { Fault } from "../../contracts/errors.ts";
import {
	byUrgency,
	Halted,
	mayBegin,
	moveIdOf,
	newRun,
	pauseMs,
	reopened,
	runIdOf,
	timeLeftMs,
	verdictOn,
} from "../../domain/jobs/runs.ts";
import { NOW_MS } from "./samples.ts";

const run = (own: Partial<Run> = {}): Run => ({
	...newRun("archive-s07-2026_08", { kind: "archive", shard: 7, month: "2026_08" }, "schedule", NOW_MS),
	...own,
});
const named = (name: string, more: object = {}) => Object.assign(new Error("why"), { name, ...more });

test("the same work has the same id", () => {
	expect(runIdOf({ kind: "drop", shard: 7, month: "2025_11" })).toBe("drop-s07-2025_11");
	expect(runIdOf({ kind: "archive", shard: 130, month: "2025_11" })).toBe("archive-s130-2025_11");
});

describe("a run on record", () => {
	const states = (of: (state: RunState) => unknown) => RUN_STATES.filter((state) => of(state) !== null);

	test("is opened again by the schedule only if it is done and yet due", () => {
		expect(states((state) => reopened(run({ state }), null, "schedule", NOW_MS))).toEqual(["done"]);
	});

	test("that was not due when its turn came is opened again once it is", () => {
		const young = run({ state: "refused", reason: { code: "NOT_DUE", message: "" } });
		expect(reopened(young, null, "schedule", NOW_MS)).toMatchObject({ state: "planned", reason: null });
		expect(reopened(young, {}, "ops", NOW_MS)).toMatchObject({ state: "planned" });
	});

	test("is opened again by an operator, unless it is running; a refused one only afresh", () => {
		const asked = (fresh: boolean) => (state: RunState) => reopened(run({ state }), { fresh }, "ops", NOW_MS);
		expect(states(asked(false))).toEqual(["planned", "waiting", "stopped", "done", "canceled"]);
		expect(states(asked(true))).toEqual(["planned", "waiting", "stopped", "done", "refused", "canceled"]);
	});

	test("takes over what the operator asks for, and forgets what was asked before", () => {
		const stopped = run({ state: "stopped", rate: 7, fresh: true, reason: { code: "STOPPED", message: "" } });
		expect(reopened(stopped, { rate: 100 }, "ops", NOW_MS)).toMatchObject({
			state: "planned",
			rate: 100,
			fresh: undefined,
			reason: null,
			askedBy: "ops",
		});
	});

	test("can be given another rate while it runs, and nothing else", () => {
		const running = run({ state: "running" });
		expect(reopened(running, { rate: 100, fresh: true }, "ops", NOW_MS)).toEqual({ rate: 100 });
	});

	test("begins to count anew when it was done", () => {
		const done = run({ state: "done", step: "settled", rows: { done: 5, total: 5 }, startedAt: "x" });
		expect(reopened(done, {}, "ops", NOW_MS)).toMatchObject({
			step: null,
			rows: { done: 0, total: 0 },
			startedAt: null,
		});
	});
});

test("what is given up comes first, then erases, then the oldest month", () => {
	const some = [
		run({ id: "b", month: "2026_09", shard: 0 }),
		run({ id: "a", month: "2026_08", shard: 9 }),
		run({ id: "drop", kind: "drop", month: "2025_11", shard: 9 }),
		run({ id: "erase", kind: "erase", month: null, shard: 9 }),
		run({ id: "given up", kind: "move", month: null, shard: 9, canceling: true }),
		run({ id: "first", month: "2026_08", shard: 1 }),
	];
	expect(some.sort(byUrgency).map(({ id }) => id)).toEqual(["given up", "erase", "drop", "first", "a", "b"]);
});

describe("a run whose work ended with", () => {
	test.each([
		["a refusal", named("MoveRejected", { code: "COPY_DIFFERS" }), "refused", "COPY_DIFFERS"],
		["a busy shard", named("ShardBusy"), "waiting", "SHARD_BUSY"],
		["a lost duty", named("LockLost"), "waiting", "LOCK_LOST"],
		["a stop of its process", new Halted("PROCESS_STOPPED", "why"), "waiting", "PROCESS_STOPPED"],
		["a stop by an operator", new Halted("STOPPED", "why"), "stopped", "STOPPED"],
		["anything else", new TypeError("why"), "waiting", "TRY_FAILED"],
		["something that is no error", "why", "waiting", "TRY_FAILED"],
		["nothing", undefined, "waiting", "TRY_FAILED"],
	])("%s", (_, error, state, code) => {
		expect(verdictOn(error)).toMatchObject({ state, reason: { code } });
	});

	test("a silent cluster says which", () => {
		const fault = new Fault("UNAVAILABLE", "A database does not answer.", { cluster: "a0" });
		expect(verdictOn(fault)).toEqual({
			state: "waiting",
			reason: { code: "CLUSTER_AWAY", message: "the cluster a0 does not answer" },
		});
	});
});

test("the pauses between tries grow up to five minutes, and up to a lease where the shard is busy", () => {
	expect([1, 2, 3, 9, 99].map((tries) => pauseMs(tries, "CLUSTER_AWAY"))).toEqual([
		2_000, 4_000, 8_000, 300_000, 300_000,
	]);
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 10_000 }), (tries) => {
			expect(pauseMs(tries, "SHARD_BUSY")).toBeLessThanOrEqual(10_000);
			expect(pauseMs(tries + 1, "TRY_FAILED")).toBeGreaterThanOrEqual(pauseMs(tries, "TRY_FAILED"));
		}),
	);
});

describe("moves of shards", () => {
	const move = (id: string, own: Partial<Run> = {}): Run => ({
		...newRun(id, { kind: "move", shard: 7, month: null, to: "c4" }, "ops", NOW_MS),
		...own,
	});

	test("have the same id for the same shard and cluster", () => {
		expect(moveIdOf(7, "c4")).toBe("move-s07-c4");
	});

	test("begin while fewer than allowed are under way; one that is on record as running goes on; other work never waits for them", () => {
		const open = [move("a", { state: "running" }), move("b", { state: "running" }), move("c")];
		const may = (run: Run, most: number, lateMs = 0) => mayBegin(run, open, most, NOW_MS + lateMs);
		expect([may(move("c"), 2), may(move("c"), 3), may(open[0] as Run, 2), may(run(), 1)]).toEqual([
			false,
			true,
			true,
			true,
		]);
		// Nobody has written of them for a minute: their processes are gone.
		expect(may(move("c"), 2, 61_000)).toBe(true);
		expect(may(move("c", { canceling: true }), 1)).toBe(true);
	});

	test("tell the time that copying and comparing will still take, at the pace of late", () => {
		const under = (own: Partial<Run>) => timeLeftMs(move("a", { state: "running", perSecond: 100, ...own }));
		expect(under({ rows: { done: 400, total: 1_000 } })).toBe(16_000);
		expect(under({ rows: { done: 1_000, total: 1_000 }, compared: 900 })).toBe(1_000);
		expect(under({ rows: { done: 0, total: 0 } })).toBeNull();
		expect(under({ rows: { done: 0, total: 5 }, perSecond: 0 })).toBeNull();
		expect(under({ rows: { done: 0, total: 5 }, state: "waiting" })).toBeNull();
	});
});
