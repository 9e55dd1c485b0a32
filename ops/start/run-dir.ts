import { realpathSync, renameSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { makeWritable } from "../embedded/server-process.ts";

/** The clone. */
export const ROOT = path.dirname(path.dirname(import.meta.dirname));

/** Where downloaded binaries are kept, whatever the run directory is. */
export const CACHE_DIR = path.join(ROOT, ".run");

/** All that one `npm start` writes. */
export interface RunDir {
	root: string;
	logs: string;
	lock: string;
	ready: string;
	credentials: string;
	pids: string;
	/** Names of databases that were added. */
	grown: string;
}

/** Makes the run directory; its real path, because processes are recognised by it. */
export async function openRunDir(wanted: string | undefined): Promise<RunDir> {
	const chosen = path.resolve(wanted || CACHE_DIR);
	await makeWritable(chosen);
	const root = realpathSync(chosen);
	const inside = (name: string) => path.join(root, name);
	await mkdir(inside("logs"), { recursive: true });
	return {
		root,
		logs: inside("logs"),
		lock: inside("start.lock"),
		ready: inside("ready.json"),
		credentials: inside("credentials.json"),
		pids: inside("pids.json"),
		grown: inside("databases.json"),
	};
}

/** Whole or not at all, and for the owner's eyes only: it holds keys. Synchronous, so that the last writer has the last word. */
export function replaceFile(file: string, content: unknown): void {
	writeFileSync(`${file}.half`, `${JSON.stringify(content, null, "\t")}\n`, { mode: 0o600 });
	renameSync(`${file}.half`, file);
}
