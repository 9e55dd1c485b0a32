import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { birthOf } from "./processes.ts";

interface Holder {
	pid: number;
	birth: string;
	url: string;
}

/** One `npm start` per run directory. Gives the release; throws, with one clear line, when another one lives. */
export async function takeLock(file: string, url: string): Promise<() => Promise<void>> {
	const own: Holder = { pid: process.pid, birth: (await birthOf(process.pid)) ?? "", url };
	while (!(await tryLink(file, own))) {
		const holder = await readHolder(file);
		if (holder === undefined) continue;
		if (holder.birth === (await birthOf(holder.pid))) throw new Error(inUse(holder));
		await dropStale(file, holder);
	}
	return async () => await rm(file, { force: true });
}

function inUse({ pid, url }: Holder): string {
	return `Another npm start runs here already: process ${pid}, ${url}. Stop it first, or set ALARM_RUN_DIR and PORT for a second one.`;
}

/** A hard link appears with its content or not at all. */
async function tryLink(file: string, own: Holder): Promise<boolean> {
	const half = `${file}.${own.pid}`;
	await writeFile(half, JSON.stringify(own));
	try {
		await link(half, file);
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
		return false;
	} finally {
		await rm(half, { force: true });
	}
}

async function dropStale(file: string, stale: Holder): Promise<void> {
	const aside = `${file}.${process.pid}.stale`;
	await rename(file, aside).catch(() => undefined);
	const found = await readHolder(aside);
	// Somebody was quicker, and what we took away is its fresh lock: give it back.
	if (found !== undefined && found.pid !== stale.pid) await link(aside, file).catch(() => undefined);
	await rm(aside, { force: true });
}

async function readHolder(file: string): Promise<Holder | undefined> {
	try {
		return JSON.parse(await readFile(file, "utf8"));
	} catch {
		return undefined;
	}
}
