import { readConfig } from "../config.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import { alarmsOf, monthOfCollection } from "../domain/routing/collection-catalog.ts";
import { monthOf } from "../domain/time/periods.ts";
import { readInbox } from "../stores/alarms/inbox.ts";
import { Clusters } from "../stores/mongo/clusters.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import { answer, ready } from "./answering.ts";
import { quantile } from "./stats.ts";

// First pages of inboxes, one after the other on a few lines, by the very function of the query service.

export interface PagesQuestion {
	userIds: string[];
	/** `newest`: by a map that knows no older month, as a system has it in its first. */
	months: "newest" | "all";
	durationMs: number;
}

export interface PagesResult {
	perS: number;
	p50Ms: number;
	p99Ms: number;
	/** Alarms on an average page. */
	rows: number;
}

const PAGE = 20;
const LINES = 4;

const config = readConfig(JSON.parse(process.argv[2] ?? "{}") as Record<string, string>);
const clusters = new Clusters(config);

async function read({ userIds, months, durationMs }: PagesQuestion): Promise<PagesResult> {
	const map = months === "all" ? await newestMap(clusters) : newestMonth(await newestMap(clusters));
	const timesMs: number[] = [];
	const startMs = performance.now();
	let rows = 0;
	let next = 0;
	const line = async () => {
		for (let beginMs = performance.now(); beginMs - startMs < durationMs; beginMs = performance.now()) {
			const found = await pageOf(map, userIds[next++ % userIds.length] ?? "");
			timesMs.push(performance.now() - beginMs);
			rows += found;
		}
	};
	await Promise.all(Array.from({ length: LINES }, line));
	return {
		perS: (timesMs.length * 1_000) / (performance.now() - startMs),
		p50Ms: quantile(timesMs, 0.5),
		p99Ms: quantile(timesMs, 0.99),
		rows: rows / timesMs.length,
	};
}

async function pageOf(map: RoutingMap, userId: string): Promise<number> {
	const nowMs = Date.now();
	const request = { userId, limit: PAGE, after: null, fromMs: 0, toMs: nowMs, nowMs };
	return (await readInbox(clusters, map, request)).rows.length;
}

function newestMonth(map: RoutingMap): RoutingMap {
	const oldest = alarmsOf(monthOf(Date.now()));
	const isKept = ([name]: [string, unknown]) => monthOfCollection(name) === null || name >= oldest;
	const shards = map.shards.map((place) => ({
		...place,
		collections: Object.fromEntries(Object.entries(place.collections).filter(isKept)),
	}));
	return { ...map, shards };
}

answer(read);
ready();
