import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { Command } from "commander";
import { guard } from "../../ops/embedded/guard.ts";
import { endOf } from "../../ops/embedded/server-process.ts";
import { type DocTable, writeDocTable } from "../support/doc-table.ts";
import { processesNaming } from "../support/processes.ts";
import { MUTANTS, type Mutant, type Suite } from "./list.ts";

/**
 * `npm run mutants`: breaks each promise on purpose, in a copy of this tree, and requires its tests to go red. The same tests must be
 * green in the copy as it is, or their red says nothing. Exit code 1 if a mutant survives.
 */

const ROOT = resolve(".");
const LIMIT_MS = 600_000;

interface Verdict {
	is: "killed" | "SURVIVED" | "INVALID";
	why: string;
}
type Row = Pick<Mutant, "name" | "promise"> & Verdict & { tests: string };

async function main(): Promise<number> {
	const { only, baseline } = new Command("mutants")
		.option("--only <text>", "those whose name contains the text", "")
		.option("--no-baseline", "without the run of the tests on the tree as it is")
		.parse()
		.opts<{ only: string; baseline: boolean }>();
	const mutants = MUTANTS.filter(({ name }) => name.includes(only));
	const copy = copyTree();
	try {
		const rows: Row[] = [];
		const green = new Map<string, Verdict>();
		for (const mutant of mutants) {
			const verdict = (baseline ? await baselineFault(copy, mutant.suite, green) : null) ?? (await judge(copy, mutant));
			rows.push({ name: mutant.name, promise: mutant.promise, ...verdict, tests: textOf(mutant.suite) });
			console.log(`${verdict.is}  ${mutant.name}: ${verdict.why}`);
		}
		writeTable(rows);
		return rows.length > 0 && rows.every(({ is }) => is === "killed") ? 0 : 1;
	} finally {
		rmSync(copy, { recursive: true, force: true });
	}
}

/** What git knows, and what is new; packages and servers are linked. */
function copyTree(): string {
	const copy = mkdtempSync(join(tmpdir(), "alarm-mutants-"));
	const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: ROOT });
	for (const file of listed.toString().split("\0").filter(Boolean)) {
		mkdirSync(join(copy, dirname(file)), { recursive: true });
		cpSync(join(ROOT, file), join(copy, file), { dereference: true });
	}
	for (const folder of [".run", "tmp"]) mkdirSync(join(copy, folder));
	symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
	symlinkSync(join(ROOT, ".run", "bin"), join(copy, ".run", "bin"));
	return copy;
}

/** Why nothing can be said about a suite's mutants, or null. Each suite is asked once. */
async function baselineFault(copy: string, suite: Suite, green: Map<string, Verdict>): Promise<Verdict | null> {
	const key = textOf(suite);
	const known = green.get(key) ?? verdictOf(await runTests(copy, suite));
	green.set(key, known);
	return known.is === "SURVIVED" ? null : { is: "INVALID", why: `its tests are not green without it: ${known.why}` };
}

async function judge(copy: string, { file, find, replace, suite }: Mutant): Promise<Verdict> {
	const path = join(copy, file);
	const source = readFileSync(path, "utf8");
	const places = source.split(find).length - 1;
	if (places !== 1) return { is: "INVALID", why: `the place stands ${places} times in ${file}` };
	writeFileSync(
		path,
		source.replace(find, () => replace),
	);
	try {
		return verdictOf(await runTests(copy, suite));
	} finally {
		writeFileSync(path, source);
	}
}

interface Outcome {
	numFailedTests: number;
	numPassedTests: number;
	/** Suites that could not even be loaded. */
	numRuntimeErrorTestSuites: number;
	testResults: { assertionResults: { status: string; fullName: string }[] }[];
}

function verdictOf(outcome: Outcome | null): Verdict {
	if (outcome === null) return { is: "INVALID", why: "the tests gave no result" };
	const { numFailedTests: failed, numPassedTests: passed } = outcome;
	if (outcome.numRuntimeErrorTestSuites > 0) return { is: "INVALID", why: "the tests could not be loaded" };
	if (failed + passed === 0) return { is: "INVALID", why: "no test was run" };
	if (failed === 0) return { is: "SURVIVED", why: `${passed} tests passed` };
	const tests = outcome.testResults.flatMap(({ assertionResults }) => assertionResults);
	return { is: "killed", why: tests.find(({ status }) => status === "failed")?.fullName ?? "" };
}

async function runTests(copy: string, { project, paths, tests }: Suite): Promise<Outcome | null> {
	const file = join(copy, ".run", "outcome.json");
	rmSync(file, { force: true });
	const which = ["--selectProjects", project, "--testPathPatterns", paths, ...(tests ? ["-t", tests] : [])];
	const how = ["--maxWorkers", "1", "--silent", "--forceExit", "--json", "--outputFile", file];
	const child = spawn(process.execPath, [join("node_modules", "jest", "bin", "jest.js"), ...which, ...how], {
		cwd: copy,
		stdio: "ignore",
		env: { ...process.env, TMPDIR: join(copy, "tmp") },
	});
	guard(child);
	// Told to stop it ends its servers, too.
	const timer = setTimeout(() => child.kill("SIGINT"), LIMIT_MS);
	await endOf(child);
	clearTimeout(timer);
	endLeftOvers(copy);
	return readOutcome(file);
}

/** A test that goes red half-way may leave its servers behind; all of them work in the copy's own temporary folder. */
function endLeftOvers(copy: string): void {
	for (const line of processesNaming(join(copy, "tmp"))) killHard(Number.parseInt(line, 10));
}

function killHard(pid: number): void {
	try {
		process.kill(pid, "SIGKILL");
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
	}
}

function readOutcome(file: string): Outcome | null {
	try {
		return JSON.parse(readFileSync(file, "utf8")) as Outcome;
	} catch {
		return null;
	}
}

function textOf({ paths, tests }: Suite): string {
	return tests === undefined ? paths : `${paths}: ${tests.replaceAll("|", ", ")}`;
}

/** Into docs/reliability.md; mutants that were left out this time keep their line. */
function writeTable(rows: Row[]): void {
	const lineOf = ({ name, promise, is, tests }: Row) => `| ${name} | ${promise} | ${is} | ${tests} |`;
	const table: DocTable = {
		document: join(ROOT, "docs", "reliability.md"),
		name: "mutants: written by npm run mutants",
		head: ["| mutant | the promise it breaks | verdict | tests |", "|---|---|---|---|"],
	};
	const lines = MUTANTS.map(({ name, promise }) => {
		const row = rows.find((one) => one.name === name);
		return { key: name, line: row && lineOf(row), empty: `| ${name} | ${promise} | not run yet | |` };
	});
	writeDocTable(table, lines);
}

main().then(
	(code) => process.exit(code),
	(error: unknown) => {
		console.error(error);
		process.exit(1);
	},
);
