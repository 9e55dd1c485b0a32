import type { ArchiveRequest, DueMonth, Run, RunKind, RunReason, RunState } from "../../contracts/archive.ts";

/** Decisions about runs: which are opened, in what order they are worked off, and what becomes of one that could not go on. */

/** Movers take these up by themselves. */
export const OPEN: readonly RunState[] = ["planned", "running", "waiting"];
export const NOT_ENDED: readonly RunState[] = [...OPEN, "stopped"];
export const ENDED: readonly RunState[] = ["done", "refused", "canceled"];

export function isOpen(state: RunState): boolean {
	return OPEN.includes(state);
}

/** Ended runs are on record for so long. */
export const RUN_DAYS = 400;

/** The same work has the same id, so that several movers cannot plan it twice. */
export function runIdOf({ kind, shard, month }: DueMonth): string {
	return `${kind}-s${String(shard).padStart(2, "0")}-${month}`;
}

export function moveIdOf(shard: number, to: string): string {
	return `move-s${String(shard).padStart(2, "0")}-${to}`;
}

/** What a run is to do. */
export type Work = Pick<Run, "kind" | "shard" | "month"> & { to?: string };

export function newRun(id: string, work: Work, askedBy: string, nowMs: number): Run {
	return {
		id,
		to: null,
		...work,
		state: "planned",
		step: null,
		rows: { done: 0, total: 0 },
		removed: null,
		startedAt: null,
		updatedAt: iso(nowMs),
		endedAt: null,
		reason: null,
		node: null,
		askedBy,
	};
}

/** What is written over a run; undefined takes a field out. */
export type RunChange = { [F in keyof Run]?: Run[F] | undefined };

/** What an operator may ask of a run. */
export type Wishes = Pick<ArchiveRequest, "rate" | "fresh">;

/** How a run on record is opened again for work that is due; null leaves it as it is. `asked` is null for the schedule. */
export function reopened(run: Run, asked: Wishes | null, askedBy: string, nowMs: number): RunChange | null {
	// Of one that is under way only the rate can be changed.
	if (run.state === "running") return asked?.rate === undefined ? null : { rate: asked.rate };
	if (!mayReopen(run, asked)) return null;
	const isOver = run.state === "done" || run.state === "canceled";
	return {
		state: "planned",
		reason: null,
		endedAt: null,
		updatedAt: iso(nowMs),
		waitingSince: undefined,
		rate: asked?.rate,
		fresh: asked?.fresh || undefined,
		askedBy,
		...(isOver && { step: null, startedAt: null, rows: { done: 0, total: 0 }, compared: undefined }),
	};
}

/** How an erase that was stopped begins anew. What it had removed is still told. */
export function reopenedErase(askedBy: string, nowMs: number) {
	return { state: "planned", step: null, reason: null, updatedAt: iso(nowMs), askedBy } as const;
}

/**
 * The schedule opens only what is due although it is done, or was not due when its turn came; what an operator has stopped, or must look
 * at, is an operator's to open.
 */
function mayReopen({ state, reason }: Run, asked: Wishes | null): boolean {
	const wasYoung = state === "refused" && reason?.code === "NOT_DUE";
	if (asked === null) return state === "done" || wasYoung;
	return state !== "refused" || wasYoung || asked.fresh === true;
}

const ORDER: Record<RunKind, number> = { erase: 0, drop: 1, archive: 1, move: 2 };

/** What is given up first, which is done in a moment and frees a shard; then customers who are to be erased, then the oldest month. */
export function byUrgency(one: Run, other: Run): number {
	const canceling = Number(other.canceling ?? false) - Number(one.canceling ?? false);
	const kinds = ORDER[one.kind] - ORDER[other.kind];
	const months = (one.month ?? "") < (other.month ?? "") ? -1 : Number(one.month !== other.month);
	return canceling || kinds || months || one.shard - other.shard;
}

/** Written in the last minute: whoever works on it is alive. */
const FRESH_MS = 60_000;

/**
 * Whether a mover may take up this run: a move only while fewer than `most` are under way, in whatever process. One that is on record as
 * running counts already: going on with it adds none; nor does giving one up. Two processes that look at once may exceed the limit by one.
 */
export function mayBegin(run: Run, open: Run[], most: number, nowMs: number): boolean {
	if (run.kind !== "move" || run.state === "running" || run.canceling) return true;
	const isAlive = ({ kind, state, updatedAt }: Run) =>
		kind === "move" && state === "running" && nowMs - Date.parse(updatedAt) < FRESH_MS;
	return open.filter(isAlive).length < most;
}

/** Until all is copied and compared, at the pace of late; null when that cannot be told. */
export function timeLeftMs({ state, rows, compared = 0, perSecond = 0 }: Run): number | null {
	if (state !== "running" || perSecond <= 0 || rows.total === 0) return null;
	const toGo = Math.max(rows.total - rows.done, 0) + Math.max(rows.total - compared, 0);
	return Math.round((toGo / perSecond) * 1_000);
}

/** The work on a run ends between two chunks: this process stops, an operator has stopped the run, or it is somebody else's now. */
export class Halted extends Error {
	override readonly name = "Halted";
	readonly code: "PROCESS_STOPPED" | "STOPPED";
	constructor(code: Halted["code"], message: string) {
		super(message);
		this.code = code;
	}
}

/** What becomes of a run whose work ended with `error`. */
export function verdictOn(error: unknown): { state: RunState; reason: RunReason } {
	const { name, type, code, data } = (error ?? {}) as Thrown;
	const message = error instanceof Error ? error.message : String((error as Thrown | null)?.message ?? error);
	if (name === "MoveRejected") return { state: "refused", reason: { code: String(code), message } };
	if (name === "Halted")
		return { state: code === "STOPPED" ? "stopped" : "waiting", reason: { code: `${code}`, message } };
	if (name === "StillArriving") return waiting("STILL_ARRIVING", message);
	if (name === "ShardBusy") return waiting("SHARD_BUSY", message);
	if (name === "Outgrown") return waiting("OUTGROWN", message);
	if (name === "LockLost") return waiting("LOCK_LOST", message);
	if (type === "UNAVAILABLE") return waiting("CLUSTER_AWAY", clusterMessage(data?.cluster));
	return waiting("TRY_FAILED", message);
}

interface Thrown {
	name?: unknown;
	type?: unknown;
	code?: unknown;
	message?: unknown;
	data?: { cluster?: unknown };
}

function clusterMessage(cluster: unknown): string {
	return cluster === undefined ? "a database does not answer" : `the cluster ${cluster} does not answer`;
}

function waiting(code: string, message: string): { state: RunState; reason: RunReason } {
	return { state: "waiting", reason: { code, message } };
}

const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 300_000;
/** A shard whose mover was killed is free after its lease of 10 s; what is on its way has arrived in half a minute. */
const LONGEST_BUSY_MS = 10_000;
const SOON = new Set(["SHARD_BUSY", "LOCK_LOST", "STILL_ARRIVING", "OUTGROWN"]);

/** How long a waiting run rests before its next try, the `tries`-th that failed (from 1). */
export function pauseMs(tries: number, code: string): number {
	return Math.min(FIRST_PAUSE_MS * 2 ** Math.min(tries - 1, 10), SOON.has(code) ? LONGEST_BUSY_MS : LONGEST_PAUSE_MS);
}

function iso(timeMs: number): string {
	return new Date(timeMs).toISOString();
}
