import type { Run } from "../contracts/archive.ts";
import type { ArchiveLimits } from "../domain/jobs/archive-plan.ts";
import { Halted, OPEN, type RunChange, verdictOn } from "../domain/jobs/runs.ts";
import { lockOf } from "../domain/jobs/shard-lock.ts";
import { inTime } from "../lib/timeout.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import { CopyThrottle } from "./copy-throttle.ts";
import type { LockDeps } from "./lock/shard-lock.ts";
import type { Progress } from "./migrate/migration.ts";
import { CANCELED, HANDLERS, type Tools } from "./run-handlers.ts";
import type { CustomerChange, RunExpected, RunStore } from "./runs/run-store.ts";

/** The work of this process on one run, with its record: nothing is written over what an operator or another process has made of it. */
export interface WorkDeps extends LockDeps {
	runs: RunStore;
	limits: ArchiveLimits;
	rowsPerSecond: number;
	/** Of the moves of whole shards. */
	moveRowsPerSecond: number;
	/** So many more rows were gone through. */
	onRows: (count: number) => void;
	onError: (error: unknown) => void;
}

/** Behind this step the whole copy is compared. */
const COMPARED_AFTER = "caught up";

/** Progress is not written, nor the record looked at, more often. */
const WRITE_MS = 1_000;
const CHECK_MS = 1_000;
/** A run that is under way says so, also while it copies nothing: comparing takes as long. */
const BEAT_MS = 5_000;
/** A run that is under way is heard of more often, as a rule. */
const STALE_MS = 60_000;

export class RunWork {
	readonly #deps: WorkDeps;
	readonly #halt = new AbortController();
	#run: Run;
	#pace: CopyThrottle | null = null;
	#rows: Run["rows"];
	#removed: Run["removed"];
	#compared = 0;
	/** Of this try, which begins to count anew. */
	#gone = 0;
	/** True once the shard is ours and the record says so. */
	#isBegun = false;
	#writtenMs = 0;
	#checkedMs = 0;

	constructor(deps: WorkDeps, run: Run) {
		this.#deps = deps;
		this.#run = run;
		this.#rows = run.rows;
		this.#removed = run.removed;
	}

	/** Works until the run is done or cannot go on now, and tells what became of it. @throws {Fault} when the record does not answer. */
	async work(): Promise<Run> {
		const beat = setInterval(() => this.#writeProgress(), BEAT_MS).unref();
		try {
			const handler = HANDLERS[this.#run.kind];
			for await (const step of handler(await this.#tools(), this.#run)) await this.#pass(step);
			// A try that went on where another was cut off has gone through less than all.
			this.#rows = { ...this.#rows, done: this.#rows.total };
			const state = this.#run.step === CANCELED ? "canceled" : "done";
			const ended = {
				state,
				endedAt: this.#now(),
				reason: null,
				waitingSince: undefined,
				canceling: undefined,
			} as const;
			// The record of an erase must not be what is left of the customer.
			await this.#put({ ...ended, ...this.#counts(), customer: undefined });
		} catch (error) {
			await this.#setAside(error);
		} finally {
			clearInterval(beat);
		}
		return this.#run;
	}

	/** Ends the work between two chunks. */
	halt(why: Halted): void {
		this.#halt.abort(why);
	}

	/** Looks whether the record asks for another rate, was stopped, or is another process's: then the work ends. */
	async check(): Promise<void> {
		if (!this.#isBegun) return;
		this.#checkedMs = performance.now();
		// A record that does not answer stops nobody's work.
		const found = await inTime(this.#deps.runs.get(this.#run.id), CHECK_MS).catch(() => undefined);
		if (found === undefined) return;
		if (found?.state !== "running" || found.node !== this.#deps.node) this.halt(notOurs());
		else this.#pace?.setRate(this.#rateOf(found));
	}

	async #tools(): Promise<Tools> {
		const { clusters, runs } = this.#deps;
		const source = clusters.at((await newestMap(clusters)).shards[this.#run.shard]?.cluster ?? "");
		const target = clusters.service.get(this.#run.to ?? "");
		const pace = new CopyThrottle(
			target === undefined ? [source] : [source, target],
			this.#rateOf(this.#run),
			this.#halt.signal,
		);
		this.#pace = pace;
		return {
			...this.#deps,
			pace: (rows: number) => this.#goThrough(pace, rows),
			signal: this.#halt.signal,
			customer: () => runs.customerOf(this.#run.id),
			onProgress: (rows: Progress) => this.#progress(rows),
			onRemoved: (removed: Record<string, number>) => {
				this.#removed = removed;
				this.#writeProgress();
			},
		};
	}

	#rateOf({ kind, rate }: Run): number {
		return rate ?? (kind === "move" ? this.#deps.moveRowsPerSecond : this.#deps.rowsPerSecond);
	}

	/** Comparing tells nothing of its own; and a run that is not written of for long looks like one whose process is gone. */
	async #goThrough(pace: CopyThrottle, rows: number): Promise<void> {
		// The news of a stop may have been lost.
		if (performance.now() - this.#checkedMs > WRITE_MS) await this.check();
		await pace.rows(rows);
		if (this.#run.step !== COMPARED_AFTER) return;
		this.#compared = Math.min(this.#compared + rows, this.#rows.total);
		this.#writeProgress();
	}

	async #pass(step: string): Promise<void> {
		this.#halt.signal.throwIfAborted();
		if (step === COMPARED_AFTER) this.#compared = 0;
		if (this.#isBegun) return this.#put({ step, ...this.#counts(), waitingSince: undefined });
		const startedAt = this.#run.startedAt ?? this.#now();
		const begun = { state: "running", node: this.#deps.node, step, startedAt, endedAt: null, reason: null } as const;
		// What was copied before has been thrown away by now: the next try goes on from what this one copies.
		await this.#put({ ...begun, ...this.#counts(), fresh: undefined });
		this.#isBegun = true;
	}

	#progress({ before = 0, ...rows }: Progress): void {
		const { done = this.#gone + before } = rows;
		this.#deps.onRows(done - before - this.#gone);
		this.#gone = done - before;
		this.#rows = { ...this.#rows, ...rows };
		this.#writeProgress();
	}

	#counts(): Pick<Run, "rows" | "removed" | "compared"> {
		return { rows: this.#rows, removed: this.#removed, compared: this.#compared };
	}

	#writeProgress(): void {
		if (!this.#isBegun || performance.now() - this.#writtenMs < WRITE_MS) return;
		this.#writtenMs = performance.now();
		const perSecond = this.#pace?.perSecond;
		this.#put({ ...this.#counts(), perSecond, waitingSince: undefined }).catch((error: unknown) => {
			if (error instanceof Halted) this.halt(error);
		});
	}

	/** @throws {Halted} when the record has been changed by others meanwhile. */
	async #put(change: RunChange & CustomerChange): Promise<void> {
		const ours = this.#isBegun ? { states: ["running"] as const, node: this.#deps.node } : { states: OPEN };
		if (!(await this.#change(ours, change))) throw notOurs();
	}

	/** One that is to be given up since it was read is another piece of work. */
	async #change(expected: RunExpected, change: RunChange & CustomerChange): Promise<boolean> {
		const full = { ...change, updatedAt: this.#now() };
		const isCanceling = this.#run.canceling === true;
		const isDone = await this.#deps.runs.change(this.#run.id, { ...expected, isCanceling }, full);
		if (isDone) this.#run = { ...this.#run, ...full } as Run;
		return isDone;
	}

	async #setAside(error: unknown): Promise<void> {
		const { state, reason } = verdictOn(error);
		if (state === "refused" || reason.code === "TRY_FAILED") this.#deps.onError(error);
		const endedAt = state === "refused" ? this.#now() : null;
		const waitingSince = state === "waiting" ? (this.#run.waitingSince ?? this.#now()) : undefined;
		const expected = await this.#expected(reason.code);
		await this.#change(expected, { state, reason, endedAt, waitingSince, ...this.#counts() });
		this.#run = { ...this.#run, state, reason };
	}

	/** A run that could not be begun here may be under way elsewhere: whoever works on it goes on writing of it. */
	async #expected(code: string): Promise<RunExpected> {
		if (this.#isBegun) return { states: ["running"], node: this.#deps.node };
		const isStale = this.#deps.nowMs() - Date.parse(this.#run.updatedAt) > STALE_MS;
		const isElsewhere = !isStale || (code === "SHARD_BUSY" && (await this.#isServed()));
		return { states: isElsewhere ? ["planned", "waiting"] : OPEN };
	}

	/** The shard is busy with this very run: at a low rate, its record is silent for long. */
	async #isServed(): Promise<boolean> {
		return lockOf(await newestMap(this.#deps.clusters), this.#run.shard)?.run === this.#run.id;
	}

	#now(): string {
		return new Date(this.#deps.nowMs()).toISOString();
	}
}

function notOurs(): Halted {
	return new Halted("STOPPED", "the run was stopped, or another process works on it");
}
