import { createHash } from "node:crypto";
import type { Run } from "../../contracts/archive.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { ClusterLoad, PlannedMove, RebalancePlan } from "../../contracts/shards.ts";

/**
 * Which shards to move so that the clusters carry alike, by size and by rate. The fewest moves come first, evenness second: a shard moves
 * once at most, and the last moves that would even little are left out. Greedy: the fewest where shards are alike, as hashed customers make
 * them, and close to it where they are not.
 */

/** How much a shard holds, and how fast it grows. */
export interface ShardSize {
	/** Of what would move: neither archived months nor what moves have left. */
	rows: number;
	/** Of the documents, not compressed: exact at once, where the size on disk lags behind by a checkpoint. */
	bytes: number;
	/**
	 * Alarms per second, on the average since the month before this one began. By the counts of two collections, which cost nothing; the ids
	 * of the last hour would have to be looked for all over a month.
	 */
	perSecond: number;
}

/** The facts of a plan: a shard that has a move that is not over counts where that ends. */
export function planFacts(
	map: RoutingMap,
	sizes: ReadonlyMap<number, ShardSize>,
	moves: Run[],
): [ClusterFacts[], ShardLoad[], string[]] {
	const clusters = Object.entries(map.clusters).map(([name, { retiring }]) => ({
		name,
		isRetiring: retiring !== undefined,
	}));
	const shards = map.shards.map(({ cluster }, shard) => {
		const move = moves.find((run) => run.shard === shard);
		// Where a move that is given up ends.
		const to = move?.canceling ? null : move?.to;
		const { bytes = 0, perSecond = 0 } = sizes.get(shard) ?? {};
		return { shard, cluster: to ?? cluster, bytes, perSecond, isBound: move !== undefined };
	});
	return [clusters.sort((one, other) => (one.name < other.name ? -1 : 1)), shards, moves.map(({ id }) => id).sort()];
}

export interface ShardLoad {
	shard: number;
	/** For a shard that is moving: where to. */
	cluster: string;
	bytes: number;
	perSecond: number;
	/** It is moving, or about to: not to be moved again. */
	isBound: boolean;
}

export interface ClusterFacts {
	name: string;
	isRetiring: boolean;
}

/** What every shard counts besides: systems that hold next to nothing are evened by the number of shards. */
const BASE_BYTES = 16 * 1024 ** 2;
const BASE_PER_SECOND = 0.1;
/** Of an even share: so far apart two clusters may be, and so much a move has to bring at the end. */
const EVEN = 0.1;

/** Shares of the whole, by size and by rate. */
type Shares = [size: number, rate: number];

interface Weighed {
	shard: number;
	from: string;
	at: string;
	shares: Shares;
	isBound: boolean;
}

/** @throws when every cluster is being retired, or a shard lies on none of them. */
export function rebalancePlan(clusters: ClusterFacts[], shards: ShardLoad[], underWay: string[] = []): RebalancePlan {
	const open = clusters.filter(({ isRetiring }) => !isRetiring).map(({ name }) => name);
	const before = weigh(shards);
	const emptied = emptyRetiring(before, clusters, open);
	const moves = evenOut(emptied.shards, open);
	const all = [...emptied.moves, ...worthwhile(emptied.shards, moves, open)];
	return {
		id: all.length === 0 ? null : idOf(all),
		moves: all,
		clusters: clusters.map(({ name, isRetiring }) => ({
			name,
			isRetiring,
			before: loadOf(name, shards, before, open.length),
			after: loadOf(name, shards, moved(before, all), open.length),
		})),
		underWay,
	};
}

function weigh(shards: ShardLoad[]): Weighed[] {
	const sizes = shards.map(({ bytes }) => bytes + BASE_BYTES);
	const rates = shards.map(({ perSecond }) => perSecond + BASE_PER_SECOND);
	const [size, rate] = [sumOf(sizes), sumOf(rates)];
	return shards.map(({ shard, cluster, isBound }, at) => ({
		shard,
		from: cluster,
		at: cluster,
		isBound,
		shares: [(sizes[at] ?? 0) / size, (rates[at] ?? 0) / rate],
	}));
}

/** Every shard of a cluster that is being retired has to go: the largest first, to whoever carries least. */
function emptyRetiring(shards: Weighed[], clusters: ClusterFacts[], open: string[]) {
	const retiring = new Set(clusters.filter(({ isRetiring }) => isRetiring).map(({ name }) => name));
	const leaving = shards.filter(({ at, isBound }) => retiring.has(at) && !isBound).sort(largestFirst);
	let now = shards;
	const moves: PlannedMove[] = [];
	for (const { shard, at } of leaving) {
		const move = { shard, from: at, to: lightest(now, open) };
		moves.push(move);
		now = moved(now, [move]);
	}
	// Each moves once.
	const bound = new Set(moves.map(({ shard }) => shard));
	return { moves, shards: now.map((one) => (bound.has(one.shard) ? { ...one, isBound: true } : one)) };
}

function largestFirst(one: Weighed, other: Weighed): number {
	return sumOf(other.shares) - sumOf(one.shares) || one.shard - other.shard;
}

function lightest(shards: Weighed[], open: string[]): string {
	const carried = sharesBy(shards, open);
	const [first, ...rest] = open;
	if (first === undefined) throw new Error("every cluster is being retired: add one before");
	const sum = (name: string) => sumOf(carried.get(name) ?? [0, 0]);
	return rest.reduce((best, name) => (sum(name) < sum(best) ? name : best), first);
}

/** One move after the other, each the one that evens most, until nothing is gained or all is even. */
function evenOut(shards: Weighed[], open: string[]): PlannedMove[] {
	const moves: PlannedMove[] = [];
	for (let now = shards; spreadOf(now, open) > EVEN; ) {
		const move = bestMove(now, open);
		if (move === null) break;
		moves.push(move);
		now = moved(now, [move]).map((one) => (one.shard === move.shard ? { ...one, isBound: true } : one));
	}
	return moves;
}

/** By the sum of squares, which falls most with the move that brings two clusters closest to each other. */
function bestMove(shards: Weighed[], open: string[]): PlannedMove | null {
	const carried = sharesBy(shards, open);
	let best: { move: PlannedMove; gain: number } | null = null;
	for (const { shard, at, shares, isBound } of shards) {
		const source = carried.get(at);
		if (isBound || source === undefined) continue;
		for (const to of open) {
			const gain = gainOf(shares, source, carried.get(to) as Shares);
			// In the order of shards and names where several gain alike, whatever rounding makes of them.
			if (to !== at && gain > (best?.gain ?? 0) + ROUNDING) best = { move: { shard, from: at, to }, gain };
		}
	}
	return best?.move ?? null;
}

const ROUNDING = 1e-9;

function gainOf(own: Shares, source: Shares, target: Shares): number {
	const one = (at: 0 | 1) => 2 * own[at] * (source[at] - target[at] - own[at]);
	return one(0) + one(1);
}

/** The shortest beginning of the moves that evens about as much as all of them. */
function worthwhile(shards: Weighed[], moves: PlannedMove[], open: string[]): PlannedMove[] {
	const spreads = moves.map((_, at) => spreadOf(moved(shards, moves.slice(0, at + 1)), open));
	const all = [spreadOf(shards, open), ...spreads];
	const last = all.at(-1) ?? 0;
	const goal = last <= EVEN ? EVEN : last + EVEN;
	return moves.slice(
		0,
		all.findIndex((spread) => spread <= goal),
	);
}

/** Between the cluster that carries most and the one that carries least, by an even share. */
function spreadOf(shards: Weighed[], open: string[]): number {
	const carried = [...sharesBy(shards, open).values()];
	const one = (at: 0 | 1) =>
		Math.max(...carried.map((shares) => shares[at])) - Math.min(...carried.map((shares) => shares[at]));
	return open.length === 0 ? 0 : Math.max(one(0), one(1)) * open.length;
}

function sharesBy(shards: Weighed[], open: string[]): Map<string, Shares> {
	const carried = new Map<string, Shares>(open.map((name) => [name, [0, 0]]));
	for (const { at, shares } of shards) {
		const sum = carried.get(at);
		if (sum === undefined) continue;
		sum[0] += shares[0];
		sum[1] += shares[1];
	}
	return carried;
}

function moved(shards: Weighed[], moves: PlannedMove[]): Weighed[] {
	const to = new Map(moves.map((move) => [move.shard, move.to]));
	return shards.map((one) => ({ ...one, at: to.get(one.shard) ?? one.at }));
}

function loadOf(name: string, shards: ShardLoad[], weighed: Weighed[], open: number): ClusterLoad {
	const own = shards.filter((_, at) => weighed[at]?.at === name);
	const carried = sharesBy(weighed, [name]).get(name) ?? [0, 0];
	return {
		shards: own.length,
		bytes: sumOf(own.map(({ bytes }) => bytes)),
		perSecond: sumOf(own.map(({ perSecond }) => perSecond)),
		load: Math.max(...carried) * Math.max(open, 1),
	};
}

function sumOf(numbers: readonly number[]): number {
	return numbers.reduce((sum, one) => sum + one, 0);
}

/** Of the moves, in whatever order they are planned. */
function idOf(moves: PlannedMove[]): string {
	const text = moves.map(({ shard, from, to }) => `${shard} ${from} ${to}`).sort();
	return createHash("sha256").update(text.join("\n")).digest("hex").slice(0, 8);
}
