import type { Tier } from "../../contracts/routing.ts";
import type { Month } from "../../domain/time/periods.ts";

/** What is printed after each month. */

export interface MonthLine {
	month: Month;
	tier: Tier;
	/** That were put in. */
	alarms: number;
	/** While it lay in the service tier, and since it is archived; null before. */
	serviceBytes: number | null;
	archiveBytes: number | null;
}

const BAR = 40;
const number = new Intl.NumberFormat("en");
const HEAD = ["month", "tier", "alarms", "service", "archive", "ratio", ""];

/** Months down the side, oldest first, each with a bar of the bytes that it takes now: █ service, ▒ archive. */
export function pictureOf(lines: MonthLine[]): string {
	const most = Math.max(...lines.map(({ serviceBytes }) => serviceBytes ?? 0), 1);
	const rows = lines.map((line) => [
		line.month.replace("_", "-"),
		line.tier,
		number.format(line.alarms),
		megabytes(line.serviceBytes, line.tier !== "service"),
		megabytes(line.archiveBytes, line.tier === "dropped"),
		ratio(line),
		bar(line, most),
	]);
	const widths = HEAD.map((_, column) => Math.max(...[HEAD, ...rows].map((row) => (row[column] ?? "").length)));
	const line = (row: string[]) =>
		row
			.map((cell, at) => aligned(cell, at, widths))
			.join("  ")
			.trimEnd();
	return [...[HEAD, ...rows].map(line), totalOf(lines)].join("\n");
}

function totalOf(lines: MonthLine[]): string {
	const bytes = (tier: Tier) =>
		lines.filter((line) => line.tier === tier).reduce((sum, line) => sum + (bytesNow(line) ?? 0), 0);
	const held = lines.filter(({ tier }) => tier !== "dropped").reduce((sum, { alarms }) => sum + alarms, 0);
	const [service, archive] = [megabytes(bytes("service"), false), megabytes(bytes("archive"), false)];
	return `now ${number.format(held)} alarms: ${service} in the service tier, ${archive} in the archive`;
}

function aligned(cell: string, column: number, widths: number[]): string {
	const isText = column < 2 || column === HEAD.length - 1;
	return isText ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
}

/** In brackets what was there and is gone. */
function megabytes(bytes: number | null, isGone: boolean): string {
	if (bytes === null) return "";
	const text = `${(bytes / 1024 ** 2).toFixed(1)} MB`;
	return isGone ? `(${text})` : text;
}

function ratio({ serviceBytes, archiveBytes }: MonthLine): string {
	return serviceBytes === null || archiveBytes === null ? "" : (archiveBytes / serviceBytes).toFixed(2);
}

function bar(line: MonthLine, most: number): string {
	const bytes = bytesNow(line);
	if (bytes === null) return "";
	return (line.tier === "archive" ? "▒" : "█").repeat(Math.max(1, Math.round((bytes / most) * BAR)));
}

function bytesNow({ tier, serviceBytes, archiveBytes }: MonthLine): number | null {
	return tier === "archive" ? archiveBytes : tier === "dropped" ? null : serviceBytes;
}
