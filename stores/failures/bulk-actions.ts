import type { Caller } from "../../contracts/access.ts";
import { LIMITS } from "../../contracts/alarm.ts";
import {
	DISCARD_RESULTS,
	type DiscardAnswer,
	type DiscardItem,
	type DiscardRequest,
	REDRIVE_RESULTS,
	type RedriveAnswer,
	type RedriveItem,
	type RedriveRequest,
} from "../../contracts/failures.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { failureRequest, rejectUnclear, toDiscard } from "../../domain/alarms/failures.ts";
import { parseId, showId } from "../../domain/alarms/ids.ts";
import type { Pacer } from "../../lib/rate-limiter.ts";
import type { Clusters } from "../mongo/clusters.ts";
import type { CachedDocument } from "../routing/cached-document.ts";
import { withMap } from "../routing/with-map.ts";
import { discardFailure, listFailures } from "./failures.ts";
import { type Round, runRound } from "./per-cluster.ts";
import { redriveOne } from "./redrive.ts";

/** What callers ask to be done to failures, many at a time. */

export interface FailureDeps {
	clusters: Clusters;
	routing: CachedDocument<RoutingMap>;
	pacer: Pacer;
	onError: (error: unknown) => void;
}

/** A caller on the bus waits 5 s: an answer of many parts is closed before that. */
export const LONG_CALL_MS = 4_000;

/** Which failures are meant, as they were named. */
interface Meant {
	named: string[];
	more: boolean;
	unavailable: string[];
}

/** Sends failures again, at this process's pace, as many as the time allows. @throws {Fault} VALIDATION_FAILED, FORBIDDEN. */
export async function redriveMany(deps: FailureDeps, request: RedriveRequest, caller: Caller): Promise<RedriveAnswer> {
	rejectUnclear(request);
	const endMs = Date.now() + LONG_CALL_MS;
	const { named, more, unavailable } = await meantBy(deps, request, caller);
	const producer = caller.role === "operator" ? null : caller.name;
	const { clusters, routing, pacer, onError } = deps;
	const own = { clusters, routing, producer, nowMs: Date.now, onError };
	const done = await runRound<RedriveItem>(
		named.map(parseId).filter((id) => id !== null),
		{
			...onFailures(deps, endMs),
			turn: (lastMs) => pacer.turn(lastMs),
			action: (map, id) => redriveOne(own, map, id),
			unavailable: (id, why) => ({ id: showId(id), result: "unavailable", why }),
		},
	);
	const results = named.flatMap((id) => (parseId(id) === null ? unknown(id) : (done.get(id) ?? [])));
	return {
		results,
		counts: countResults(REDRIVE_RESULTS, results),
		more: more || results.length < named.length,
		...(unavailable.length > 0 && { unavailable }),
	};
}

async function meantBy(
	deps: FailureDeps,
	{ ids, filter, limit = LIMITS.redriveIds }: RedriveRequest,
	caller: Caller,
): Promise<Meant> {
	if (ids !== undefined) return { named: ids, more: false, unavailable: [] };
	const request = failureRequest({ ...filter, limit }, caller);
	const { rows, more, unavailable } = await withMap(deps.routing, (map) => listFailures(deps.clusters, map, request));
	return { named: rows.map(({ _id }) => showId(_id)), more, unavailable };
}

/** Gives failures up, for good: they are listed on request only, and never redriven. */
export async function discardMany(
	deps: FailureDeps,
	{ ids, why }: DiscardRequest,
	caller: Caller,
): Promise<DiscardAnswer> {
	const endMs = Date.now() + LONG_CALL_MS;
	const discarded = { by: caller.name, why, at: new Date() };
	const done = await runRound<DiscardItem>(
		ids.map(parseId).filter((id) => id !== null),
		{
			...onFailures(deps, endMs),
			turn: async (lastMs) => Date.now() <= lastMs,
			action: async (map, id) => toItem(id, await discardFailure(deps.clusters, map, id, discarded)),
			unavailable: (id) => ({ id: showId(id), result: "unavailable" }),
		},
	);
	const results = ids.map((id) =>
		parseId(id) === null ? unknown(id) : (done.get(id) ?? { id, result: "unavailable" as const }),
	);
	return { results, counts: countResults(DISCARD_RESULTS, results) };
}

function onFailures(
	{ routing, onError }: FailureDeps,
	endMs: number,
): Pick<Round<unknown>, "routing" | "onError" | "endMs"> {
	return { routing, onError, endMs };
}

function toItem(id: Buffer, standing: Parameters<typeof toDiscard>[0] | null): DiscardItem {
	if (standing === null) return unknown(showId(id));
	return { id: showId(id), result: "discarded", discarded: toDiscard(standing) };
}

/** Also for what has the length of an id and is none. */
function unknown(id: string): { id: string; result: "unknown" } {
	return { id, result: "unknown" };
}

function countResults<R extends string>(all: readonly R[], results: { result: R }[]): Record<R, number> {
	const counts = Object.fromEntries(all.map((result) => [result, 0])) as Record<R, number>;
	for (const { result } of results) counts[result]++;
	return counts;
}
