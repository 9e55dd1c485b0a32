import type { Run } from "../contracts/archive.ts";
import type {
	ClusterLoad,
	MapChangeRow,
	MapHistory,
	MovesBegun,
	RebalancePlan,
	ShardState,
	ShardsState,
} from "../contracts/shards.ts";
import { isOpen } from "../domain/jobs/runs.ts";
import { aligned, bar, durationText, sizeText } from "./table.ts";

/** Shards and their moves as an operator reads them on a console. */

const WIDTH = 24;

export function mapText({ shards, clusters, mapVersion, unavailable }: ShardsState): string {
	const most = Math.max(...shards.map(({ bytes }) => bytes ?? 0), 1);
	const rows = shards.map((shard) => [
		String(shard.shard),
		shard.cluster,
		countText(shard.rows),
		shard.bytes === null ? "?" : sizeText(shard.bytes),
		shard.bytes === null ? "" : bar(shard.bytes / most, WIDTH),
		notesOf(shard),
	]);
	const sums = clusters.map(({ name, shards, rows, bytes, isRetiring }) => [
		name,
		`${shards} shards`,
		countText(rows),
		bytes === null ? "?" : sizeText(bytes),
		isRetiring ? "is being retired" : "",
	]);
	return [
		...aligned([["shard", "cluster", "rows", "size", "", ""], ...rows]),
		"",
		...aligned([["cluster", "", "rows", "size", ""], ...sums]),
		`version ${mapVersion} of the map`,
		...awayLines(unavailable),
	].join("\n");
}

function notesOf({ move, lock, retained }: ShardState): string {
	const notes = [
		...(move === null ? [] : [`${move.canceling ? "gives up its move" : "moves"} to ${move.to}: ${move.state}`]),
		...(lock === null || lock.kind === "move" ? [] : [`${lock.kind} by ${lock.holder}`]),
		...retained.map(({ cluster, since }) => `left ${cluster} at ${since}`),
	];
	return notes.join("; ");
}

/** Only the shards that have a move. */
export function statusText({ at, shards, unavailable }: ShardsState): string {
	const moves = shards.flatMap(({ move }) => move ?? []);
	const lines = moves.map((move) => (move.state === "running" ? runningLine(move) : otherLine(move, at)));
	const nothing = unavailable.includes("runs") ? [] : ["No shard is moving."];
	return [...(lines.length === 0 ? nothing : lines), ...awayLines(unavailable)].join("\n");
}

function runningLine(move: NonNullable<ShardState["move"]>): string {
	const { id, rows, compared = 0, perSecond, leftMs, step, node } = move;
	const part = rows.total === 0 ? 0 : (rows.done + compared) / (2 * rows.total);
	const speed = perSecond === undefined ? "" : `  ${perSecond.toLocaleString("en")} rows/s`;
	const left = leftMs === null ? "" : `, ${durationText(leftMs)} left`;
	return `${id} [${bar(part, WIDTH)}] ${doing(move)}${speed}${left}  (after "${step}", on ${node})`;
}

function doing({ rows, compared, step }: Run): string {
	const isCompared = step === "caught up" && compared !== undefined;
	const [done, verb] = isCompared ? [compared, "compared"] : [rows.done, "copied"];
	return `${done.toLocaleString("en")} of ${rows.total.toLocaleString("en")} ${verb}`;
}

function otherLine({ id, state, reason, waitingSince, canceling }: Run, at: string): string {
	const since = waitingSince === undefined ? "" : ` for ${durationText(Date.parse(at) - Date.parse(waitingSince))}`;
	const why = reason === null ? "" : `: ${reason.code}, ${reason.message}`;
	return `${id} ${state}${canceling ? " to be given up" : ""}${since}${why}`;
}

export function runText(run: Run): string {
	return `${otherLine(run, run.updatedAt)}${isOpen(run.state) ? " (shard status)" : ""}`;
}

export function planText({ id, moves, clusters, underWay }: RebalancePlan): string {
	const rows = clusters.map(({ name, isRetiring, before, after }) => [
		name,
		...loadCells(before),
		"->",
		...loadCells(after),
		isRetiring ? "is being retired" : "",
	]);
	const steps = moves.map(({ shard, from, to }) => `shard ${shard}: ${from} -> ${to}`);
	return [
		...aligned([["cluster", "shards", "size", "load", "", "shards", "size", "load", ""], ...rows]),
		...(underWay.length === 0 ? [] : [`under way already, and taken for done: ${underWay.join(", ")}`]),
		...(id === null ? ["Nothing is to be moved."] : steps),
		...(id === null ? [] : [`${moves.length} moves; to begin them: shard rebalance --confirm ${id}`]),
	].join("\n");
}

/** A load of 1 is an even share. */
function loadCells({ shards, bytes, load }: ClusterLoad): string[] {
	return [String(shards), sizeText(bytes), load.toFixed(2)];
}

export function begunText({ begun, skipped }: MovesBegun): string {
	return [
		...begun.map((run) => otherLine(run, run.updatedAt)),
		...skipped.map(({ why }) => `SKIPPED: ${why}`),
		`${begun.length} moves are begun (shard status).`,
	].join("\n");
}

export function historyText({ changes }: MapHistory): string {
	if (changes.length === 0) return "The map has no history of that.";
	return aligned(changes.map(changeCells)).join("\n");
}

function changeCells({ version, at, by, run, kind, what }: MapChangeRow): string[] {
	return [String(version), at ?? "?", kind, what, [by ?? "?", ...(run === null ? [] : [run])].join(", ")];
}

function countText(rows: number | null): string {
	return rows === null ? "?" : rows.toLocaleString("en");
}

function awayLines(unavailable: string[]): string[] {
	return unavailable.length === 0 ? [] : [`DOES NOT ANSWER: ${unavailable.join(", ")}`];
}
