import type { RoutingMap } from "../contracts/routing.ts";
import type { Clusters } from "./clusters.ts";
import { loadDocument, MOST_TRIES, replaceDocument } from "./documents.ts";
import { MAP_ID } from "./routing-map.ts";

/** The highest version that any cluster has. */
export async function newestMap(clusters: Clusters): Promise<RoutingMap> {
	const map = await loadDocument<RoutingMap>(clusters, MAP_ID);
	if (map === null) throw new Error("there is no routing map: set the system up first (npm run setup)");
	return map;
}

/**
 * Changes the map by compare-and-set, deciding anew on the newest version as often as another change was first.
 * Null: `decide` had nothing to change.
 */
export async function changeMap(
	clusters: Clusters,
	decide: (map: RoutingMap) => RoutingMap | null,
): Promise<RoutingMap | null> {
	for (let tries = 0; tries <= MOST_TRIES; tries++) {
		const next = decide(await newestMap(clusters));
		if (next === null || (await replaceDocument(clusters, MAP_ID, next))) return next;
	}
	throw new Error("the routing map is being changed by others all the time; try again");
}
