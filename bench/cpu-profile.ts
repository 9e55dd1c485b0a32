import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "./child.ts";

/** Reads V8 CPU profiles: which functions the time went into by themselves. */

interface Node {
	id: number;
	callFrame: { functionName: string; url: string; lineNumber: number };
	children?: number[];
}
interface CpuProfile {
	nodes: Node[];
	samples: number[];
	timeDeltas: number[];
}

interface Spent {
	/** Function and place, or the package it belongs to. */
	where: string;
	ms: number;
	/** Of the time that was not idle. */
	part: number;
}

/** The newest profile in a folder. */
export function newestProfile(folder: string): CpuProfile {
	const name = readdirSync(folder)
		.filter((file) => file.endsWith(".cpuprofile"))
		.sort()
		.at(-1);
	if (name === undefined) throw new Error(`there is no profile in ${folder}`);
	return JSON.parse(readFileSync(path.join(folder, name), "utf8")) as CpuProfile;
}

/** Self time by function, most first. */
export function byFunction(profile: CpuProfile): Spent[] {
	return sums(profile, ({ callFrame }) => `${callFrame.functionName || "(anonymous)"} ${placeOf(callFrame)}`.trim());
}

/** Self time by package or folder of ours, most first. */
export function byPackage(profile: CpuProfile): Spent[] {
	return sums(profile, ({ callFrame }) => packageOf(callFrame));
}

/** A sample that lasted so long is a process that was stopped from outside (SIGSTOP before a drain). */
const FROZEN_US = 100_000;
const IDLE = new Set(["(idle)", "(program)", "(root)"]);

function sums({ nodes, samples, timeDeltas }: CpuProfile, nameOf: (node: Node) => string): Spent[] {
	const names = new Map(nodes.map((node) => [node.id, IDLE.has(node.callFrame.functionName) ? null : nameOf(node)]));
	const spentUs = new Map<string, number>();
	let busyUs = 0;
	samples.forEach((id, at) => {
		const name = names.get(id);
		if (name === null || name === undefined) return;
		const us = timeDeltas[at] ?? 0;
		if (us > FROZEN_US) return;
		busyUs += us;
		spentUs.set(name, (spentUs.get(name) ?? 0) + us);
	});
	return [...spentUs]
		.map(([where, us]) => ({ where, ms: us / 1_000, part: us / busyUs }))
		.sort((one, other) => other.ms - one.ms);
}

function placeOf({ url, lineNumber }: Node["callFrame"]): string {
	return url === "" ? "" : `${shortPath(url)}:${lineNumber + 1}`;
}

function shortPath(url: string): string {
	if (!url.startsWith("file:")) return url;
	return path.relative(ROOT, fileURLToPath(url)).replace(/^.*node_modules\//, "");
}

function packageOf({ url, functionName }: Node["callFrame"]): string {
	if (url === "") return functionName === "(garbage collector)" ? functionName : "(V8 and C++)";
	if (url.startsWith("node:")) return url.split("/").slice(0, 2).join("/");
	const [first = "", second = ""] = shortPath(url).split("/");
	if (!url.includes("/node_modules/")) return `ours: ${first}`;
	return first.startsWith("@") ? `${first}/${second}` : first;
}

/** The head of a list as a Markdown table. */
export function tableOfSpent(spent: Spent[], count: number): string {
	const rows = spent
		.slice(0, count)
		.map(
			({ where, ms, part }) =>
				`| ${(part * 100).toFixed(1)} % | ${ms.toFixed(0)} | \`${where.replaceAll("|", "/")}\` |`,
		);
	return ["| self | ms | where |", "|---|---|---|", ...rows].join("\n");
}
