import type { ShardState } from "../../contracts/shards.ts";
import type { Pause } from "../load/busy-plan.ts";

/** What is printed while shards move, and at the end. */

/** A line per cluster with its shards; one that is moving away says whereto. */
export function pictureOf(clusters: string[], shards: Pick<ShardState, "shard" | "cluster" | "move">[]): string {
	const width = Math.max(...clusters.map((name) => name.length));
	return clusters
		.map((name) => {
			const own = shards.filter(({ cluster }) => cluster === name);
			return `  ${name.padEnd(width)}  ${own.map(boxOf).join(" ") || "·"}`;
		})
		.join("\n");
}

function boxOf({ shard, cluster, move }: Pick<ShardState, "shard" | "cluster" | "move">): string {
	const number = String(shard).padStart(2, "0");
	return move === null || move.to === cluster ? `[${number}]` : `[${number} → ${move.to}]`;
}

interface ShardLine {
	shard: number;
	from: string;
	to: string;
	/** While shards moved, and before that. */
	pause: Pause;
	before: Pause;
}

/** How long the writers of each shard had to wait at the longest, those of shards that moved first. */
export function pausesOf(lines: ShardLine[]): string {
	const head = ["shard", "", "mark", "(before)", "accepted to readable", "(before)", "asked to come again"];
	const rows = lines
		.toSorted((one, other) => Number(one.from === one.to) - Number(other.from === other.to) || one.shard - other.shard)
		.map(({ shard, from, to, pause, before }) => [
			String(shard).padStart(2, "0"),
			from === to ? `${from}, stayed` : `${from} → ${to}`,
			milliseconds(pause.markMs),
			milliseconds(before.markMs),
			milliseconds(pause.readableMs),
			milliseconds(before.readableMs),
			String(pause.retried),
		]);
	const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? "").length)));
	const line = (row: string[]) =>
		row
			.map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
			.join("  ")
			.trimEnd();
	return [head, ...rows].map((row) => `  ${line(row)}`).join("\n");
}

function milliseconds(ms: number): string {
	return `${Math.round(ms)} ms`;
}
