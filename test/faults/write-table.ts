import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Counted, Scenario } from "../support/scenario.ts";
import { DATABASE_SCENARIOS } from "./databases.ts";
import { PROCESS_SCENARIOS } from "./processes.ts";
import { queueScenarios } from "./queue.ts";

/** `npm run faults:table`: writes the last result of each scenario into docs/reliability.md; one without a new result keeps its line. */

const DOCUMENT = "docs/reliability.md";
const RESULTS = ".run/faults/results.ndjson";
const [BEGIN, END] = ["<!-- faults: written by npm run faults:table -->", "<!-- /faults -->"];
const HEAD = [
	"| scenario | what was done | ok | refused | unknown | by the outbox | duplicates | alarms stored | longest without a 202 | drained in | promises broken | seed |",
	"|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
];

type Result = Omit<Counted, "broken"> & { broken: number };

function main(): void {
	const text = readFileSync(DOCUMENT, "utf8");
	const [before, rest] = text.split(BEGIN);
	const [old, after] = (rest ?? "").split(END);
	if (before === undefined || old === undefined || after === undefined)
		throw new Error(`${DOCUMENT} lacks its markers ${BEGIN} and ${END}`);
	const results = new Map(readResults().map((result) => [result.name, result]));
	const lines = [...queueScenarios(), ...DATABASE_SCENARIOS, ...PROCESS_SCENARIOS].map(
		(scenario) => lineOf(results.get(scenario.name)) ?? keptLine(scenario, old),
	);
	writeFileSync(DOCUMENT, [`${before}${BEGIN}`, ...HEAD, ...lines, `${END}${after}`].join("\n"));
}

/** In the order of their being played: the last of a name counts. */
function readResults(): Result[] {
	if (!existsSync(RESULTS)) return [];
	const lines = readFileSync(RESULTS, "utf8").split("\n").filter(Boolean);
	return lines.map((line) => JSON.parse(line) as Result);
}

function lineOf(result: Result | undefined): string | undefined {
	if (result === undefined) return undefined;
	const { name, done, ok, refused, unknown, viaOutbox, duplicates, stored, silentMs, drainMs, broken, seed } = result;
	const counts = [ok, refused, unknown, viaOutbox, duplicates, stored].map((count) => count.toLocaleString("en"));
	const times = [silentMs, drainMs].map((ms) => `${(ms / 1_000).toFixed(1)} s`);
	return `| ${[name, done, ...counts, ...times, broken, seed].join(" | ")} |`;
}

function keptLine({ name, done }: Scenario, old: string): string {
	const kept = old.split("\n").find((line) => line.startsWith(`| ${name} |`));
	return kept ?? `| ${[name, done, ...Array(9).fill(""), "not played yet"].join(" | ")} |`;
}

main();
