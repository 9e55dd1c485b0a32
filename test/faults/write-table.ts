import { existsSync, readFileSync } from "node:fs";
import { type DocTable, writeDocTable } from "../support/doc-table.ts";
import type { Counted, Scenario } from "../support/scenario.ts";
import { DATABASE_SCENARIOS } from "./databases.ts";
import { MOVE_SCENARIOS } from "./moves.ts";
import { NODE_SCENARIOS } from "./nodes.ts";
import { PROCESS_SCENARIOS } from "./processes.ts";
import { queueScenarios } from "./queue.ts";

/** `npm run faults:table`: writes the last result of each scenario into docs/reliability.md; one without a new result keeps its line. */

const RESULTS = ".run/faults/results.ndjson";
const TABLE: DocTable = {
	document: "docs/reliability.md",
	name: "faults: written by npm run faults:table",
	head: [
		"| scenario | what was done | ok | refused | unknown | by the outbox | duplicates | alarms stored | longest without a 202 | drained in | promises broken | seed |",
		"|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
	],
};

type Result = Omit<Counted, "broken"> & { broken: number };

/** In the order of their being played: the last of a name counts. */
function readResults(): Map<string, Result> {
	const text = existsSync(RESULTS) ? readFileSync(RESULTS, "utf8") : "";
	const results = text.split("\n").filter(Boolean);
	return new Map(results.map((line) => JSON.parse(line) as Result).map((result) => [result.name, result]));
}

function lineOf(result: Result): string {
	const { name, done, ok, refused, unknown, viaOutbox, duplicates, stored, silentMs, drainMs, broken, seed } = result;
	const counts = [ok, refused, unknown, viaOutbox, duplicates, stored].map((count) => count.toLocaleString("en"));
	const times = [silentMs, drainMs].map((ms) => `${(ms / 1_000).toFixed(1)} s`);
	return rowOf([name, done, ...counts, ...times, broken, seed]);
}

function emptyLine({ name, done }: Scenario): string {
	return rowOf([name, done, ...Array(9).fill(""), "not played yet"]);
}

function rowOf(cells: (string | number)[]): string {
	return `| ${cells.join(" | ")} |`;
}

const results = readResults();
writeDocTable(
	TABLE,
	[...queueScenarios(), ...DATABASE_SCENARIOS, ...PROCESS_SCENARIOS, ...NODE_SCENARIOS, ...MOVE_SCENARIOS].map(
		(scenario) => {
			const result = results.get(scenario.name);
			return { key: scenario.name, line: result && lineOf(result), empty: emptyLine(scenario) };
		},
	),
);
