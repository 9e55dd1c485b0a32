import type { Run } from "../../contracts/archive.ts";
import { Fault } from "../../contracts/errors.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { PlannedMove, ShardMoveRequest } from "../../contracts/shards.ts";
import { ENDED, isOpen, moveIdOf, NOT_ENDED } from "./runs.ts";

/** What operators may ask of the moves of shards, and what is answered to the rest. */

/** @throws {Fault} when the shard cannot be moved so. `moves` are all of this shard that are on record. */
export function rejectMove(map: RoutingMap, moves: Run[], { shard, to, fresh }: ShardMoveRequest): void {
	const place = placeOf(map, shard);
	const id = moveIdOf(shard, to);
	const own = moves.find((run) => run.id === id);
	const other = moves.find((run) => run.id !== id && NOT_ENDED.includes(run.state));
	if (other !== undefined)
		throw rejected(shard, `is ${stateOf(other)} (${other.id}): let that end, or cancel it first`);
	if (own?.canceling && isOpen(own.state))
		throw rejected(shard, `has this very move being canceled: ask again when it is`);
	const cluster = map.clusters[to];
	if (cluster === undefined) throw rejected(shard, `cannot move to ${to}: ${namesText(map)}; add it first`);
	if (cluster.retiring !== undefined) throw rejected(shard, `cannot move to ${to}: that cluster is being retired`);
	const isThere = place.cluster === to && (place.retained ?? []).every(({ settled }) => settled);
	if (isThere) throw rejected(shard, `is on ${to} already`);
	if (own?.state === "refused" && fresh !== true)
		throw rejected(
			shard,
			`was refused (${own.reason?.code}: ${own.reason?.message}); once that is mended, ask with fresh`,
		);
}

/** @throws {Fault} PLAN_CHANGED when a shard of the plan has gone somewhere else since it was shown. */
export function rejectStrayed({ shards }: RoutingMap, moves: PlannedMove[]): void {
	const strayed = moves.find(({ shard, from, to }) => ![from, to].includes(shards[shard]?.cluster ?? ""));
	if (strayed === undefined) return;
	const { shard, from, to } = strayed;
	const message = `Shard ${shard} is neither on ${from} nor on ${to} any more. Look at the plan as it is now, and confirm that.`;
	throw new Fault("PLAN_CHANGED", message);
}

/** The move of a shard that is not over. @throws {Fault} */
export function moveToChange(map: RoutingMap, moves: Run[], shard: number): Run {
	placeOf(map, shard);
	const run = moves.find(({ state }) => NOT_ENDED.includes(state));
	if (run === undefined)
		throw new Fault("MOVE_NOT_FOUND", `Shard ${shard} has no move that is under way, waits or is paused.`);
	if (run.canceling) throw rejected(shard, "has its move being canceled");
	return run;
}

/** The move of a shard that can be given up: also one that was refused, because it has left copies. @throws {Fault} */
export function moveToCancel(map: RoutingMap, moves: Run[], shard: number): Run {
	const { cluster } = placeOf(map, shard);
	const lastRejected = moves.filter(({ state }) => state === "refused").sort(lastFirst)[0];
	const run = moves.find(({ state }) => NOT_ENDED.includes(state)) ?? lastRejected;
	// Also of one that is done: whoever cancels it wants to hear that it is, and how to go back.
	if ((run ?? moves.find(({ to }) => to === cluster))?.to === cluster)
		throw rejected(
			shard,
			`is on ${cluster} already: its move can be canceled no more; going back is a move in the other direction`,
		);
	if (run === undefined) throw new Fault("MOVE_NOT_FOUND", `Shard ${shard} has no move that could be canceled.`);
	return run;
}

/** What is written over a move that is paused, and over one that is to be given up. */
export function pausedBy(by: string, nowMs: number) {
	const reason = { code: "PAUSED", message: `paused by ${by}; it goes on when it is resumed` };
	return { state: "stopped", reason, updatedAt: new Date(nowMs).toISOString(), waitingSince: undefined } as const;
}

export function canceledBy(by: string, nowMs: number) {
	const updatedAt = new Date(nowMs).toISOString();
	// Without a node: whoever works on it finds that it is his no longer.
	return {
		state: "planned",
		canceling: true,
		node: null,
		reason: null,
		endedAt: null,
		askedBy: by,
		updatedAt,
	} as const;
}

/** The move of a shard as operators want to see it: the one that is not over, or the refusal that is newer than what was done. */
export function moveShown(moves: Run[]): Run | null {
	const open = moves.find(({ state }) => NOT_ENDED.includes(state));
	const last = moves.filter(({ state }) => ENDED.includes(state)).sort(lastFirst)[0];
	return open ?? (last?.state === "refused" ? last : null);
}

function lastFirst(one: Run, other: Run): number {
	return one.updatedAt < other.updatedAt ? 1 : -1;
}

function placeOf(map: RoutingMap, shard: number) {
	const place = map.shards[shard];
	if (place !== undefined) return place;
	throw new Fault("SHARD_NOT_FOUND", `There are shards 0 to ${map.shards.length - 1}; there is no ${shard}.`);
}

function stateOf({ state, to }: Run): string {
	return state === "stopped" ? `half moved to ${to} and paused` : `being moved to ${to}`;
}

function namesText({ clusters }: RoutingMap): string {
	return `the service clusters are ${Object.keys(clusters).sort().join(", ")}`;
}

function rejected(shard: number, why: string): Fault {
	return new Fault("MOVE_REJECTED", `Shard ${shard} ${why}.`);
}
