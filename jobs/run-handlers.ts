import type { Run, RunKind } from "../contracts/archive.ts";
import { type ArchiveLimits, isOldEnough, notDue } from "../domain/jobs/archive-plan.ts";
import type { Removed } from "../domain/jobs/erase.ts";
import { Halted } from "../domain/jobs/runs.ts";
import { alarmsOf } from "../domain/routing/collection-catalog.ts";
import { shardPlace } from "../domain/routing/routing.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import { type EraseStep, eraseCustomer } from "./erase-customer.ts";
import { archiveMonth, type MonthWork } from "./migrate/archive-month.ts";
import { cancelMove } from "./migrate/cancel-move.ts";
import { dropMonth } from "./migrate/drop-month.ts";
import { type MoveDeps, MoveRejected } from "./migrate/migration.ts";
import { moveShard } from "./migrate/move-shard.ts";
import type { Customer } from "./runs/run-store.ts";

/** What a deed works with. */
export interface Tools extends MoveDeps {
	limits: ArchiveLimits;
	signal: AbortSignal;
	/** Hears what an erase has removed so far. */
	onRemoved: (removed: Removed) => void;
	/** Whom the run erases. */
	customer: () => Promise<Customer | null>;
}

/** What each kind of run does: step by step, each of which may be the last of this process. */
type RunHandler = (tools: Tools, run: Run) => AsyncGenerator<string, void, void>;

export const HANDLERS: Record<RunKind, RunHandler> = {
	archive: (deps, { id, shard, month, fresh = false }) =>
		archiveMonth(deps, { run: id, shard, month: month ?? "", fresh }),
	drop,
	erase,
	move,
};

/** The last step of a run that was given up. */
export const CANCELED = "canceled";

async function* move(
	tools: Tools,
	{ id, shard, to, canceling, fresh = false }: Run,
): AsyncGenerator<string, void, void> {
	const work = { run: id, shard, to: to ?? "", fresh };
	// Too late: the shard is there already, and what the move has left is to be settled.
	if (canceling && (yield* cancelMove(tools, work))) return yield CANCELED;
	yield* moveShard(tools, work);
}

/** Nobody waits for what is on its way: other runs have their turn, and this one is looked at again soon. */
const WAIT_MS = 0;

async function* erase(tools: Tools, { id, step, removed }: Run): AsyncGenerator<string, void, void> {
	const customer = await tools.customer();
	// Never by falling through to its end: it would be called done.
	if (customer === null) throw new Halted("STOPPED", "it is over, and nobody knows any more whom it has erased");
	const deps = { ...tools, onProgress: tools.onRemoved, waitMs: WAIT_MS };
	yield* eraseCustomer(deps, { run: id, ...customer, after: step as EraseStep | null, removed });
}

async function* drop(tools: Tools, { id, shard, month }: Run): AsyncGenerator<string, void, void> {
	const work = { run: id, shard, month: month ?? "" };
	await rejectUndue(tools, work);
	await dropMonth(tools, work);
	yield "dropped";
}

/** The run may have waited for long, and somebody has raised the limit to keep what was about to go. What has begun is brought to its end. */
async function rejectUndue({ clusters, limits, nowMs }: Tools, { shard, month }: MonthWork): Promise<void> {
	const place = shardPlace(await newestMap(clusters), shard).collections[alarmsOf(month)];
	if (place?.tier !== "archive" || isOldEnough("drop", month, nowMs(), limits)) return;
	throw new MoveRejected("NOT_DUE", notDue("drop", month, limits).message);
}
