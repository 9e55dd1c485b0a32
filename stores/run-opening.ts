import type { ArchiveRequest, DueMonth, Run } from "../contracts/archive.ts";
import { newRun, OPEN, reopened, runIdOf } from "../domain/runs.ts";
import type { RunStore } from "./run-store.ts";

/** Putting runs on record, opening them again, and stopping them: each a conditional change, because several movers do it at once. */
interface OpeningDeps {
	runs: RunStore;
	nowMs: () => number;
}

/** More than there are months of shards. */
export const MOST_RUNS = 10_000;

/** The run of what is due, as it is on record afterwards. `asked` is null for the schedule. */
export async function openRun(
	{ runs, nowMs }: OpeningDeps,
	due: DueMonth,
	asked: ArchiveRequest | null,
	by: string,
): Promise<Run> {
	const id = runIdOf(due);
	const fresh = { ...newRun(id, due, by, nowMs()), ...wishesOf(asked) };
	if (await runs.add(fresh)) return fresh;
	const found = await runs.get(id);
	const change = found && reopened(found, asked, by, nowMs());
	if (change) await runs.change(id, { states: [found.state] }, change);
	return (await runs.get(id)) ?? fresh;
}

function wishesOf(asked: ArchiveRequest | null): Pick<Run, "rate" | "fresh"> {
	return { ...(asked?.rate !== undefined && { rate: asked.rate }), ...(asked?.fresh && { fresh: true }) };
}

/** Stops every open run, and tells which. */
export async function stopRuns({ runs, nowMs }: OpeningDeps, by: string): Promise<Run[]> {
	const open = await runs.list({ states: OPEN, limit: MOST_RUNS });
	const reason = { code: "STOPPED", message: `stopped by ${by}` };
	const change = { state: "stopped", reason, updatedAt: new Date(nowMs()).toISOString() } as const;
	const stop = ({ id }: Run) => runs.change(id, { states: OPEN }, { ...change, waitingSince: undefined });
	const isStopped = await Promise.all(open.map(stop));
	return open.filter((_, at) => isStopped[at]).map((run) => ({ ...run, ...change }));
}
