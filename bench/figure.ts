import { median } from "./stats.ts";

/** What a run measures, and what its numbers mean. */

export interface Baseline {
	name: string;
	samples: number[];
	/** What it shows on a quiet machine of this size (2 cores); null where nobody has measured it. */
	band: readonly [low: number, high: number] | null;
	/** Least ratio of ours to it that is asked for; null where it only stands beside. */
	reach: number | null;
}

export interface Figure {
	key: string;
	name: string;
	unit: string;
	/** True of times: then a ratio is theirs to ours, so that more is better everywhere. */
	lessIsBetter?: true;
	/** Ours, one per round. */
	samples: number[];
	baselines: Baseline[];
	/** Latencies, CPU: what else was seen. */
	notes: string[];
}

/** A baseline below this part of its band's lower edge means a busy machine or a bad baseline. */
const VOID_BELOW = 0.6;

export interface Verdict {
	figure: string;
	unit: string;
	ours: number;
	baseline: string;
	theirs: number;
	ratio: number;
	reach: number | null;
	band: readonly [low: number, high: number] | null;
	says: "reached" | "missed" | "void" | "-";
}

/** One verdict per baseline. Medians are compared, never single rounds. */
export function judge({ name, unit, lessIsBetter, samples, baselines }: Figure): Verdict[] {
	const ours = median(samples);
	return baselines.map((baseline) => {
		const theirs = median(baseline.samples);
		const { reach, band } = baseline;
		const ratio = lessIsBetter ? theirs / ours : ours / theirs;
		return {
			figure: name,
			unit,
			ours,
			baseline: baseline.name,
			theirs,
			ratio,
			reach,
			band,
			says: verdict(ratio, theirs, baseline),
		};
	});
}

function verdict(ratio: number, theirs: number, { reach, band }: Baseline): Verdict["says"] {
	if (Number.isNaN(ratio) || (band !== null && theirs < band[0] * VOID_BELOW)) return "void";
	if (reach === null) return "-";
	return ratio >= reach ? "reached" : "missed";
}

/** 0: all reached; 1: something missed; 2: something void, so that the run proves nothing. */
export function exitCodeOf(verdicts: Verdict[]): number {
	if (verdicts.some(({ says }) => says === "void")) return 2;
	return verdicts.some(({ says }) => says === "missed") ? 1 : 0;
}
