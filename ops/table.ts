/** Rows of cells as lines, each column as wide as its widest cell. */
export function aligned(rows: string[][]): string[] {
	const widths = (rows[0] ?? []).map((_cell, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
	return rows.map((row) =>
		row
			.map((cell, column) => cell.padEnd(widths[column] ?? 0))
			.join("  ")
			.trimEnd(),
	);
}

/** `part` from 0 to 1 as a bar of text. */
export function bar(part: number, width: number): string {
	const full = Math.round(Math.min(Math.max(part, 0), 1) * width);
	return "█".repeat(full) + "░".repeat(width - full);
}

const UNITS = ["B", "KB", "MB", "GB", "TB"];

export function sizeText(bytes: number): string {
	const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
	const value = bytes / 1_000 ** power;
	return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[power]}`;
}

export function durationText(ms: number): string {
	const seconds = Math.round(ms / 1_000);
	if (seconds < 90) return `${seconds} s`;
	const minutes = Math.round(seconds / 60);
	return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
