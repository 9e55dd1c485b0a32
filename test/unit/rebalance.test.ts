import fc from "fast-check";
import type { Run } from "../../contracts/archive.ts";
import { type ClusterFacts, planFacts, rebalancePlan, type ShardLoad } from "../../domain/jobs/rebalance.ts";
import { newRun } from "../../domain/jobs/runs.ts";
import { firstMap } from "../../domain/routing/routing.ts";

const GB = 1024 ** 3;
const names = (count: number) => Array.from({ length: count }, (_, at) => `c${at}`);
const facts = (count: number, retiring: string[] = []): ClusterFacts[] =>
	names(count).map((name) => ({ name, isRetiring: retiring.includes(name) }));
/** Shards that are all alike, on these clusters. */
const alike = (clusters: string[]): ShardLoad[] =>
	clusters.map((cluster, shard) => ({ shard, cluster, bytes: GB, perSecond: 50, isBound: false }));
const dealt = (shards: number, over: number) => alike(Array.from({ length: shards }, (_, shard) => `c${shard % over}`));
const counts = (plan: ReturnType<typeof rebalancePlan>) => plan.clusters.map(({ after }) => after.shards);
const sizes = fc.record({ bytes: fc.integer({ min: 0, max: 500 }), perSecond: fc.integer({ min: 0, max: 200 }) });

test("four clusters become eight: eight of sixteen shards move, two from each", () => {
	const plan = rebalancePlan(facts(8), dealt(16, 4));
	expect(plan.moves).toHaveLength(8);
	expect(counts(plan)).toEqual(Array(8).fill(2));
	expect(plan.clusters.map(({ before }) => before.load)).toEqual([2, 2, 2, 2, 0, 0, 0, 0]);
	for (const { after } of plan.clusters) expect(after.load).toBeCloseTo(1);
	expect(plan.id).toMatch(/^[0-9a-f]{8}$/);
});

test("where the load is even nothing is to do, and the plan has no id to confirm", () => {
	expect(rebalancePlan(facts(4), dealt(16, 4))).toMatchObject({ id: null, moves: [] });
	expect(rebalancePlan(facts(1), dealt(16, 1))).toMatchObject({ id: null, moves: [] });
});

test("shards that hold nothing are evened by their number", () => {
	const empty = dealt(16, 2).map((one) => ({ ...one, bytes: 0, perSecond: 0 }));
	expect(counts(rebalancePlan(facts(4), empty))).toEqual([4, 4, 4, 4]);
});

test("a shard that outweighs all others gets a cluster of its own", () => {
	const shards = dealt(8, 2).map((one) => (one.shard === 0 ? { ...one, bytes: 100 * GB, perSecond: 5_000 } : one));
	const { moves, clusters } = rebalancePlan(facts(2), shards);
	expect(moves.every(({ from, shard }) => from === "c0" && shard !== 0)).toBe(true);
	expect(clusters[0]?.after.load).toBeLessThanOrEqual(clusters[0]?.before.load ?? 0);
});

test("of two shards of one size, one busy and one idle, the rate is evened, too", () => {
	const shards = dealt(4, 2).map((one) => ({ ...one, perSecond: one.cluster === "c0" ? 400 : 0 }));
	const { moves, clusters } = rebalancePlan(facts(2), shards);
	expect(moves).toHaveLength(2);
	expect(clusters.map(({ after }) => [after.shards, after.perSecond])).toEqual([
		[2, 400],
		[2, 400],
	]);
});

test("a cluster that is being retired is emptied, each of its shards moving once, and nothing goes there", () => {
	fc.assert(
		fc.property(fc.array(sizes, { minLength: 4, maxLength: 24 }), fc.integer({ min: 2, max: 5 }), (some, count) => {
			const shards = some.map((size, shard) => ({ shard, cluster: `c${shard % count}`, ...size, isBound: false }));
			const plan = rebalancePlan(facts(count, ["c0"]), shards);
			expect(counts(plan)[0]).toBe(0);
			expect(plan.moves.filter(({ from }) => from === "c0")).toHaveLength(
				shards.filter(({ cluster }) => cluster === "c0").length,
			);
			expect(plan.moves.filter(({ to }) => to === "c0")).toEqual([]);
			expect(new Set(plan.moves.map(({ shard }) => shard)).size).toBe(plan.moves.length);
		}),
	);
});

test("with every cluster being retired there is nowhere to go, and that is said", () => {
	expect(() => rebalancePlan(facts(1, ["c0"]), dealt(2, 1))).toThrow("add one before");
});

test("shards that are alike are evened with the fewest moves there are", () => {
	const placed = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 5, maxLength: 40 });
	fc.assert(
		fc.property(placed, (places) => {
			const plan = rebalancePlan(facts(5), alike(places.map((at) => `c${at}`)));
			const before = names(5).map((name) => places.filter((at) => `c${at}` === name).length);
			const after = counts(plan);
			expect(Math.max(...after) - Math.min(...after)).toBeLessThanOrEqual(1);
			expect(plan.moves).toHaveLength(fewest(before));
		}),
	);
});

/** So many shards have to leave the clusters that have more than their part; the fullest keep the odd ones. */
function fewest(counts: number[]): number {
	const [least, odd] = [Math.floor(sum(counts) / counts.length), sum(counts) % counts.length];
	const sorted = counts.toSorted((one, other) => other - one);
	return sum(sorted.map((count, at) => Math.max(count - least - (at < odd ? 1 : 0), 0)));
}
const sum = (some: number[]) => some.reduce((one, other) => one + other, 0);

test("no shard moves twice, to where it is, or when it is bound; what is carried most is never more than before; the same facts make the same plan", () => {
	const shard = fc.record({ at: fc.integer({ min: 0, max: 3 }), isBound: fc.boolean(), size: sizes });
	fc.assert(
		fc.property(fc.array(shard, { minLength: 1, maxLength: 32 }), (some) => {
			const shards = some.map(({ at, isBound, size }, number) => ({
				shard: number,
				cluster: `c${at}`,
				bytes: size.bytes * GB,
				perSecond: size.perSecond,
				isBound,
			}));
			const plan = rebalancePlan(facts(4), shards);
			expect(new Set(plan.moves.map((move) => move.shard)).size).toBe(plan.moves.length);
			for (const { shard: number, from, to } of plan.moves) {
				expect([shards[number]?.isBound, shards[number]?.cluster]).toEqual([false, from]);
				expect(to).not.toBe(from);
			}
			const squares = (of: "before" | "after") => sum(plan.clusters.map((cluster) => cluster[of].bytes ** 2 / GB ** 2));
			if (plan.moves.length === 0) expect(squares("after")).toBe(squares("before"));
			expect(rebalancePlan(facts(4), shards)).toEqual(plan);
		}),
	);
});

test("plans that are carried out one after the other come to an end: no shard goes to and fro", () => {
	fc.assert(
		fc.property(fc.array(sizes, { minLength: 8, maxLength: 32 }), (some) => {
			let shards = some.map(({ bytes, perSecond }, shard) => ({
				shard,
				cluster: `c${shard % 2}`,
				bytes: bytes * GB,
				perSecond,
				isBound: false,
			}));
			const seen = new Set<string>();
			for (let plan = rebalancePlan(facts(4), shards); plan.id !== null; plan = rebalancePlan(facts(4), shards)) {
				const to = new Map(plan.moves.map((move) => [move.shard, move.to]));
				shards = shards.map((one) => ({ ...one, cluster: to.get(one.shard) ?? one.cluster }));
				const places = shards.map(({ cluster }) => cluster).join();
				expect(seen).not.toContain(places);
				seen.add(places);
			}
		}),
	);
});

test("a shard that is moving counts where it goes, and one whose move is given up where it is", () => {
	const map = firstMap(4, ["c0", "c1"], new Date(0));
	const move = (shard: number, more: Partial<Run>): Run => ({
		...newRun(`move-${shard}`, { kind: "move", shard, month: null, to: "c1" }, "ops", 0),
		...more,
	});
	const [, shards, underWay] = planFacts(map, new Map(), [move(0, {}), move(2, { canceling: true })]);
	expect(shards.map(({ cluster, isBound }) => [cluster, isBound])).toEqual([
		["c1", true],
		["c1", false],
		["c0", true],
		["c1", false],
	]);
	expect(underWay).toEqual(["move-0", "move-2"]);
});
