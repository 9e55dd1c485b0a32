import type { Run } from "../../contracts/archive.ts";
import type { ShardState, ShardsState } from "../../contracts/shards.ts";
import { rebalancePlan } from "../../domain/jobs/rebalance.ts";
import { newRun } from "../../domain/jobs/runs.ts";
import { shardAnswer } from "../../ops/shard-command.ts";
import { begunText, historyText, mapText, planText, statusText } from "../../ops/shard-text.ts";
import { iso, NOW_MS } from "./samples.ts";

const move = (own: Partial<Run> = {}): Run => ({
	...newRun("move-s07-c4", { kind: "move", shard: 7, month: null, to: "c4" }, "ops", NOW_MS),
	...own,
});
const shard = (number: number, own: Partial<ShardState> = {}): ShardState => ({
	shard: number,
	cluster: "c0",
	rows: 1_000,
	bytes: 200_000,
	perSecond: 1,
	lock: null,
	retained: [],
	move: null,
	...own,
});
const state = (shards: ShardState[], unavailable: string[] = []): ShardsState => ({
	at: iso(NOW_MS),
	mapVersion: 12,
	clusters: [{ name: "c0", shards: shards.length, rows: 2_000, bytes: 400_000, isRetiring: true }],
	shards,
	unavailable,
});

test("the map shows each shard with its size, its move and what it has left, and who does not answer", () => {
	const left = [{ cluster: "c9", epoch: 1, since: iso(NOW_MS), settled: true }];
	const moving = { ...move({ state: "running" }), leftMs: null };
	const text = mapText(
		state([shard(0), shard(7, { move: moving, retained: left }), shard(8, { rows: null, bytes: null })], ["c1"]),
	);
	expect(text).toMatch(/0 +c0 +1,000 +200 KB +█{24}/);
	expect(text).toContain("moves to c4: running; left c9 at");
	expect(text).toMatch(/8 +c0 +\? +\?/);
	expect(text).toContain("is being retired");
	expect(text).toContain("version 12 of the map");
	expect(text).toContain("DOES NOT ANSWER: c1");
});

test("the status shows how far a move is, its rate and the time left; of one that rests, why", () => {
	const half = move({
		state: "running",
		rows: { done: 2_000, total: 4_000 },
		perSecond: 500,
		step: "taken",
		node: "m1",
	});
	const compared = move({ ...half, id: "b", rows: { done: 4_000, total: 4_000 }, compared: 2_000, step: "caught up" });
	const waits = move({
		id: "w",
		state: "waiting",
		waitingSince: iso(NOW_MS - 9_000),
		reason: { code: "CLUSTER_AWAY", message: "c4" },
	});
	const shown = [half, compared, waits, move({ id: "z", canceling: true })];
	const text = statusText(
		state(shown.map((run, at) => shard(at, { move: { ...run, leftMs: at === 0 ? 12_000 : null } }))),
	);
	expect(text).toContain(
		`move-s07-c4 [${"█".repeat(6)}${"░".repeat(18)}] 2,000 of 4,000 copied  500 rows/s, 12 s left`,
	);
	expect(text).toContain(`b [${"█".repeat(18)}${"░".repeat(6)}] 2,000 of 4,000 compared`);
	expect(text).toContain("w waiting for 9 s: CLUSTER_AWAY, c4");
	expect(text).toContain("z planned to be given up");
	expect(statusText(state([shard(0)]))).toBe("No shard is moving.");
	expect(statusText(state([shard(0)], ["runs"]))).toBe("DOES NOT ANSWER: runs");
});

test("the plan shows the load before and after, each move, and how to begin them", () => {
	const clusters = ["c0", "c1"].map((name) => ({ name, isRetiring: false }));
	const shards = [0, 1].map((number) => ({ shard: number, cluster: "c0", bytes: 1_000, perSecond: 1, isBound: false }));
	const plan = rebalancePlan(clusters, shards, ["move-s09-c1"]);
	const text = planText(plan);
	expect(text).toMatch(/c0 +2 +2\.0 KB +2\.00 +-> +1 +1\.0 KB +1\.00/);
	expect(text).toContain("shard 0: c0 -> c1");
	expect(text).toContain(`1 moves; to begin them: shard rebalance --confirm ${plan.id}`);
	expect(text).toContain("taken for done: move-s09-c1");
	const skipped = [{ shard: 1, from: "c0", to: "c1", why: "Shard 1 was refused." }];
	expect(begunText({ begun: [move()], skipped, plan })).toMatch(/SKIPPED: Shard 1 was refused\.\n1 moves are begun/);
	expect(planText(rebalancePlan(clusters.slice(1), []))).toContain("Nothing is to be moved.");
});

test("the history shows when, what and who; what nobody told is marked", () => {
	const change = {
		version: 3,
		at: iso(NOW_MS),
		by: "m1",
		run: "move-s07-c4",
		kind: "moved",
		what: "shard 7 moved",
		shards: [7],
	} as const;
	const unknown = { ...change, version: 2, at: null, by: null, run: null, kind: "unknown", what: "version 2" } as const;
	const text = historyText({
		changes: [
			{ ...change, shards: [7] },
			{ ...unknown, shards: [] },
		],
	});
	expect(text).toContain(`3  ${iso(NOW_MS)}`);
	expect(text).toContain("m1, move-s07-c4");
	expect(text).toMatch(/2 +\? +unknown/);
	expect(historyText({ changes: [] })).toContain("no history");
});

test("a command that there is not names those that there are", async () => {
	const text = await shardAnswer({} as never, { what: "fly", options: {} });
	expect(text).toContain("map, status, plan, rebalance, move, pause, resume, cancel, history");
});
