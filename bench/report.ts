import { loadavg } from "node:os";
import type { Figure, Verdict } from "./figure.ts";

/** The table at the end of a run. */

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

export function tableOf(verdicts: Verdict[]): string {
	const head = ["figure", "ours", "beside", "theirs", "ratio", "reach", ""];
	const rows = verdicts.map((one) => [
		one.figure,
		`${number.format(one.ours)}${one.unit}`,
		one.baseline,
		`${number.format(one.theirs)}${one.unit}${bandText(one)}`,
		one.ratio.toFixed(2),
		one.reach === null ? "" : String(one.reach),
		one.says === "void" ? "VOID" : one.says,
	]);
	const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? "").length)));
	const line = (row: string[]) =>
		row
			.map((cell, column) => cell.padEnd(widths[column] ?? 0))
			.join("  ")
			.trimEnd();
	return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

function bandText({ band }: Verdict): string {
	if (band === null) return "";
	const [low, high] = band;
	return low === high ? ` (quiet: ${number.format(low)})` : ` (quiet: ${number.format(low)}-${number.format(high)})`;
}

export function notesOf(figures: Figure[]): string {
	return figures.flatMap(({ name, notes }) => notes.map((note) => `  ${name} — ${note}`)).join("\n");
}

export function loadLine(): string {
	return `load average ${loadavg()
		.map((load) => load.toFixed(2))
		.join(" ")}`;
}

const BAR_CHARS = 50;

/** Values as bars of text. */
export function barsOf(bars: { name: string; value: number }[], unit: string): string {
	const most = Math.max(...bars.map(({ value }) => value));
	const width = Math.max(...bars.map(({ name }) => name.length));
	return bars
		.map(
			({ name, value }) =>
				`${name.padEnd(width)}  ${"█".repeat(Math.max(1, Math.round((value / most) * BAR_CHARS)))} ${value.toFixed(1)} ${unit}`,
		)
		.join("\n");
}
