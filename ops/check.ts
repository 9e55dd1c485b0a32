import { spawnSync } from "node:child_process";

/** `npm run check`: everything that can be said about the code without running it. Runs all, then tells which failed. */
const CHECKS: [name: string, ...command: string[]][] = [
	["types", "tsc", "--project", "."],
	["lint and format", "biome", "check", "."],
	["arrows", "jest", "--selectProjects", "unit", "--testPathPatterns", "arrows"],
];

const failed = CHECKS.filter(([name, command = "", ...args]) => {
	console.log(`\n== ${name}`);
	return spawnSync(command, args, { stdio: "inherit" }).status !== 0;
});
console.log(failed.length === 0 ? "\nAll checks passed." : `\nFailed: ${failed.map(([name]) => name).join(", ")}`);
process.exit(failed.length === 0 ? 0 : 1);
