import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type FindOptions, findServer, type RunningMongod, startMongod } from "../ops/embedded/index.ts";
import { ROOT } from "./child.ts";

/** Servers of a run's own, and their end. */

/** What was started, in that order: each is ended by whoever lent it, the last first. */
export type Ends = (() => Promise<unknown>)[];

/**
 * Lends what `open` has opened to `work`, and ends everything afterwards, whatever happened. A signal ends the work at once; what is
 * being opened hears it by itself, and is waited for, so that nothing is left behind.
 */
export async function withEnds<T, R>(
	signal: AbortSignal,
	open: (ends: Ends) => Promise<T>,
	work: (opened: T) => Promise<R>,
): Promise<R> {
	const ends: Ends = [];
	try {
		const opened = await open(ends);
		return await Promise.race([work(opened), aborted(signal)]);
	} finally {
		for (const end of ends.reverse()) await end().catch((error: unknown) => console.error(error));
	}
}

function aborted(signal: AbortSignal): Promise<never> {
	const { promise, reject } = Promise.withResolvers<never>();
	const stop = () => reject(signal.reason);
	if (signal.aborted) stop();
	signal.addEventListener("abort", stop, { once: true });
	return promise;
}

export async function temporaryFolder(prefix: string, ends: Ends): Promise<string> {
	const dir = await mkdtemp(path.join(tmpdir(), prefix));
	ends.push(() => rm(dir, { recursive: true, force: true }));
	return dir;
}

export function whereToFind(signal: AbortSignal): FindOptions {
	return { runDir: path.join(ROOT, ".run"), say: (text) => console.error(text), signal };
}

/** Looked for once in a run, which tells where it was not. */
let mongodBinary: Promise<string> | null = null;

/** One of each name, in folders of those names. */
export async function startMongods(
	names: string[],
	dir: string,
	signal: AbortSignal,
	ends: Ends,
): Promise<RunningMongod[]> {
	mongodBinary ??= findServer("mongod", whereToFind(signal));
	const binary = await mongodBinary;
	const mongods: RunningMongod[] = [];
	for (const name of names) {
		const mongod = await startMongod({ binary, dir: path.join(dir, name), name, signal });
		ends.push(() => mongod.stop());
		mongods.push(mongod);
	}
	return mongods;
}
