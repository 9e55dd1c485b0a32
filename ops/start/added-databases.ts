import { readFileSync } from "node:fs";
import { type RunDir, replaceFile } from "./run-dir.ts";

/** Databases that were added to the local start: the next one starts them again. */
export function grownNames({ grown }: RunDir): string[] {
	try {
		return JSON.parse(readFileSync(grown, "utf8")) as string[];
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
		throw error;
	}
}

/** Before the database is started: one that is written down and holds nothing does no harm, one that is forgotten does. */
export function keepGrown(runDir: RunDir, name: string): void {
	const names = grownNames(runDir);
	if (!names.includes(name)) replaceFile(runDir.grown, [...names, name]);
}
