import type { RoutingMap } from "../../contracts/routing.ts";
import { shardOf, showId } from "../../domain/alarms/ids.ts";
import { shardPlace } from "../../domain/routing/routing.ts";
import { inTime, TooLate } from "../../lib/timeout.ts";
import { isUnavailable } from "../mongo/cluster.ts";
import { Fenced, isMoved } from "../mongo/commands.ts";
import type { CachedDocument } from "../routing/cached-document.ts";

/** A deed done to many failures within one call: clusters side by side, so that one that is silent costs the others nothing. */
export interface Round<R> {
	routing: CachedDocument<RoutingMap>;
	/** When the caller's patience ends. */
	endMs: number;
	/** Waits for its turn; false when there is none left before the moment given. */
	turn: (lastMs: number) => Promise<boolean>;
	/** Can run twice with the same result. */
	action: (map: RoutingMap, id: Buffer) => Promise<R>;
	/** What is told of an id whose database did not answer. */
	unavailable: (id: Buffer, why: string) => R;
	/** Hears of errors that are neither an outage nor a moved collection. */
	onError: (error: unknown) => void;
}

const SILENT = "Its database does not answer; try again in a moment.";
const FENCED = "Its shard is being moved; try again in a moment.";
const STRANGE = "Something went wrong on our side; it has been logged. Trying again does no harm.";

/** So many at once per cluster: enough for the pace, few enough to leave readers theirs. */
const CONCURRENCY = 4;
/** A deed that is begun has so long at least, so that a sound database is not called silent for want of time. */
const LAST_DEED_MS = 500;

/** Results by the id as callers see it; an id that was not reached in time has none. */
export async function runRound<R>(ids: Buffer[], round: Round<R>): Promise<Map<string, R>> {
	const results = new Map<string, R>();
	const map = round.routing.current;
	const byCluster = Map.groupBy(ids, (id) => shardPlace(map, shardOf(id, map.shards.length)).cluster);
	await Promise.all([...byCluster.values()].map((some) => runOnCluster(some, round, results)));
	return results;
}

async function runOnCluster<R>(ids: Buffer[], round: Round<R>, results: Map<string, R>): Promise<void> {
	const waiting = ids.values();
	let isSilent = false;
	const hand = async () => {
		for (const id of waiting) {
			if (!isSilent && !(await round.turn(round.endMs - LAST_DEED_MS))) return;
			const done = isSilent ? SILENT : await tryAction(id, round);
			isSilent ||= done === SILENT;
			results.set(showId(id), typeof done === "string" ? round.unavailable(id, done) : done.result);
		}
	};
	await Promise.all(Array.from({ length: CONCURRENCY }, hand));
}

/** Its result, or why there is none. A deed that comes too late goes on unwatched: whatever it does is right at any time. */
async function tryAction<R>(id: Buffer, round: Round<R>): Promise<{ result: R } | string> {
	try {
		return { result: await inTime(withFreshMap(id, round), Math.max(round.endMs - Date.now(), 0)) };
	} catch (error) {
		if (error instanceof TooLate || isUnavailable(error)) return SILENT;
		if (error instanceof Fenced || isMoved(error)) return FENCED;
		round.onError(error);
		return STRANGE;
	}
}

/** Once more with a fresh map when a collection has moved. */
async function withFreshMap<R>(id: Buffer, { routing, action }: Round<R>): Promise<R> {
	try {
		return await action(routing.current, id);
	} catch (error) {
		if (!isMoved(error)) throw error;
		await routing.reload();
		return action(routing.current, id);
	}
}
