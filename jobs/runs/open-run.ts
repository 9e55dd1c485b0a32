import { randomUUID } from "node:crypto";
import type { Run } from "../../contracts/archive.ts";
import { shardOf, userHash } from "../../domain/alarms/ids.ts";
import { newRun, OPEN, reopened, reopenedErase, type Wishes, type Work } from "../../domain/jobs/runs.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import type { Customer, RunStore } from "./run-store.ts";

/** Putting runs on record, opening them again, and stopping them: each a conditional change, because several movers do it at once. */
interface OpeningDeps {
	runs: RunStore;
	nowMs: () => number;
}

/** More than there are months of shards. */
export const MOST_RUNS = 10_000;

/** The run of some work, as it is on record afterwards. `asked` is null for the schedule. */
export async function openRun(
	{ runs, nowMs }: OpeningDeps,
	{ id, ...work }: Work & { id: string },
	asked: Wishes | null,
	by: string,
): Promise<Run> {
	const fresh = { ...newRun(id, work, by, nowMs()), ...wishesOf(asked) };
	if (await runs.add(fresh)) return fresh;
	const found = await runs.get(id);
	const change = found && reopened(found, asked, by, nowMs());
	if (change) await runs.change(id, { states: [found.state] }, change);
	return (await runs.get(id)) ?? fresh;
}

/**
 * The run of an erase. Ids are random, so that none tells whose it is; each request has a run of its own, because each has its own
 * beginning, but for those of the customer that were stopped: they begin anew.
 */
export async function openErase(deps: OpeningDeps & { clusters: Clusters }, userId: string, by: string): Promise<Run> {
	const { runs, clusters, nowMs } = deps;
	const { shards } = await newestMap(clusters);
	// By whichever clock is ahead: what was accepted before this request must be older.
	const customer = { userId, startedAtMs: Math.max(nowMs(), await clusters.meta.askClock()) };
	const [again] = await reopenErases(deps, customer, by);
	if (again !== undefined) return again;
	const work = { kind: "erase", shard: shardOf(userHash(userId), shards.length), month: null } as const;
	const run = newRun(`erase-${randomUUID()}`, work, by, nowMs());
	await runs.add(run, customer);
	return run;
}

async function reopenErases({ runs, nowMs }: OpeningDeps, customer: Customer, by: string): Promise<Run[]> {
	const stopped = await runs.stoppedOf(customer.userId);
	const change = reopenedErase(by, nowMs());
	const reopen = ({ id }: Run) => runs.change(id, { states: ["stopped"] }, { ...change, customer });
	const isOpen = await Promise.all(stopped.map(reopen));
	return stopped.filter((_, at) => isOpen[at]).map((run) => ({ ...run, ...change }));
}

function wishesOf(asked: Wishes | null): Pick<Run, "rate" | "fresh"> {
	return { ...(asked?.rate !== undefined && { rate: asked.rate }), ...(asked?.fresh && { fresh: true }) };
}

/** Stops every open run but the moves of shards, which are paused one by one; tells which. */
export async function stopRuns({ runs, nowMs }: OpeningDeps, by: string): Promise<Run[]> {
	const open = (await runs.list({ states: OPEN, limit: MOST_RUNS })).filter(({ kind }) => kind !== "move");
	const reason = { code: "STOPPED", message: `stopped by ${by}` };
	const change = { state: "stopped", reason, updatedAt: new Date(nowMs()).toISOString() } as const;
	const stop = ({ id }: Run) => runs.change(id, { states: OPEN }, { ...change, waitingSince: undefined });
	const isStopped = await Promise.all(open.map(stop));
	return open.filter((_, at) => isStopped[at]).map((run) => ({ ...run, ...change }));
}
