import { setTimeout as sleep } from "node:timers/promises";
import type { Document } from "mongodb";
import { type Cluster, isUnavailable } from "../mongo/cluster.ts";

/** Reads of a long check: of what is safe on a majority, one at a time, and patient with a cluster that is busy. */

const TRIES = 2;
const PAUSE_MS = 500;
/** What a minority has may still vanish; commands about collections do not know the word. */
const OF_A_MAJORITY = { readConcern: { level: "majority" } };

/** Clusters that did not answer, by name; what was not found may be there. */
export type Silent = Set<string>;

/**
 * One read, of what a majority has. Null when the cluster does not answer, also not when it is asked again: it is then among the silent,
 * and is not asked any more, so that a cluster that comes and goes cannot make half an answer look whole.
 */
export async function readPatiently(
	cluster: Cluster,
	silent: Silent,
	database: string,
	command: Document,
): Promise<Document | null> {
	for (let attempt = 1; !silent.has(cluster.name); attempt++) {
		try {
			return await cluster.read(database, "find" in command ? { ...command, ...OF_A_MAJORITY } : command);
		} catch (error) {
			if (!isUnavailable(error)) throw error;
			if (attempt === TRIES) silent.add(cluster.name);
			else await sleep(PAUSE_MS);
		}
	}
	return null;
}
