import { setTimeout as sleep } from "node:timers/promises";
import { Fault } from "../../contracts/errors.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { backoffMs } from "../../domain/alarms/write-results.ts";
import { isUnavailable } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { MAP_ID } from "./provision.ts";
import { loadDocument, replaceDocument } from "./versioned-documents.ts";

/** The highest version that any cluster has. */
export async function newestMap(clusters: Clusters): Promise<RoutingMap> {
	const map = await loadDocument<RoutingMap>(clusters, MAP_ID);
	if (map === null) throw new Error("there is no routing map: set the system up first (npm run setup)");
	// It may name a cluster that this process has not heard of.
	clusters.learn(map);
	return map;
}

/** Several movers, each on a shard of its own, change one map: without a pause of chance, one of them may lose time and again. */
const MOST_TRIES = 24;
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 300;

/**
 * Changes the map by compare-and-set, deciding anew on the newest version as often as another change was first.
 * Null: `decide` had nothing to change.
 */
export async function changeMap(
	clusters: Clusters,
	decide: (map: RoutingMap) => RoutingMap | null,
): Promise<RoutingMap | null> {
	for (let tries = 1; tries <= MOST_TRIES; tries++) {
		const next = decide(await newestMap(clusters));
		if (next === null || (await replaceMap(clusters, next))) return next;
		await sleep(backoffMs(tries, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, Math.random()));
	}
	throw new Error("the routing map is being changed by others all the time; try again");
}

async function replaceMap(clusters: Clusters, next: RoutingMap): Promise<boolean> {
	try {
		const isReplaced = await replaceDocument(clusters, MAP_ID, next);
		if (isReplaced) clusters.learn(next);
		return isReplaced;
	} catch (error) {
		throw isUnavailable(error) ? unchangeable(error) : error;
	}
}

/** The change may have been made all the same; whoever tries again finds out. */
function unchangeable(cause: unknown): Fault {
	const message =
		"The meta database does not answer: the routing map cannot be changed until it is back. Alarms are accepted and read meanwhile.";
	const fault = new Fault("UNAVAILABLE", message, { retryAfterS: 5, cluster: "meta" });
	fault.cause = cause;
	return fault;
}
