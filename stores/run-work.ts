import type { Run } from "../contracts/archive.ts";
import type { ArchiveLimits } from "../domain/archive-plan.ts";
import { Halted, OPEN, type RunChange, verdictOn } from "../domain/runs.ts";
import type { DutyDeps } from "./duty.ts";
import { newestMap } from "./map-change.ts";
import { MovePace } from "./move-pace.ts";
import { DEEDS, type Tools } from "./run-deeds.ts";
import type { CustomerChange, RunExpected, RunStore } from "./run-store.ts";

/** The work of this process on one run, with its record: nothing is written over what an operator or another process has made of it. */
export interface WorkDeps extends DutyDeps {
	runs: RunStore;
	limits: ArchiveLimits;
	rowsPerSecond: number;
	/** So many more rows were gone through. */
	onRows: (count: number) => void;
	onError: (error: unknown) => void;
}

/** Progress is not written more often. */
const WRITE_MS = 1_000;
/** A run that is under way says so, also while it copies nothing: comparing takes as long. */
const BEAT_MS = 5_000;
/** A run that is under way is heard of more often. */
const STALE_MS = 60_000;

export class RunWork {
	readonly #deps: WorkDeps;
	readonly #halt = new AbortController();
	#run: Run;
	#pace: MovePace | null = null;
	#rows: Run["rows"];
	#removed: Run["removed"];
	/** Of this try, which begins to count anew. */
	#gone = 0;
	/** True once the shard is ours and the record says so. */
	#isBegun = false;
	#writtenMs = 0;

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
			const deed = DEEDS[this.#run.kind];
			for await (const step of deed(await this.#tools(), this.#run)) await this.#pass(step);
			// A try that went on where another was cut off has gone through less than all.
			this.#rows = { ...this.#rows, done: this.#rows.total };
			const ended = { state: "done", endedAt: this.#now(), reason: null, waitingSince: undefined } as const;
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
		const found = await this.#deps.runs.get(this.#run.id).catch(() => undefined);
		if (found === undefined) return;
		if (found?.state !== "running" || found.node !== this.#deps.node) this.halt(notOurs());
		else this.#pace?.setRate(found.rate ?? this.#deps.rowsPerSecond);
	}

	async #tools(): Promise<Tools> {
		const { clusters, runs } = this.#deps;
		const source = clusters.at((await newestMap(clusters)).shards[this.#run.shard]?.cluster ?? "");
		const pace = new MovePace(source, this.#run.rate ?? this.#deps.rowsPerSecond, this.#halt.signal);
		this.#pace = pace;
		return {
			...this.#deps,
			pace: (rows: number) => pace.rows(rows),
			signal: this.#halt.signal,
			customer: () => runs.customerOf(this.#run.id),
			onProgress: (rows) => this.#progress(rows),
			onRemoved: (removed) => {
				this.#removed = removed;
				this.#writeProgress();
			},
		};
	}

	async #pass(step: string): Promise<void> {
		this.#halt.signal.throwIfAborted();
		if (this.#isBegun) return this.#put({ step, ...this.#counts(), waitingSince: undefined });
		const startedAt = this.#run.startedAt ?? this.#now();
		const begun = { state: "running", node: this.#deps.node, step, startedAt, endedAt: null, reason: null } as const;
		// What was copied before has been thrown away by now: the next try goes on from what this one copies.
		await this.#put({ ...begun, fresh: undefined });
		this.#isBegun = true;
	}

	#progress(rows: Run["rows"]): void {
		this.#deps.onRows(rows.done - this.#gone);
		this.#gone = rows.done;
		this.#rows = rows;
		this.#writeProgress();
	}

	#counts(): Pick<Run, "rows" | "removed"> {
		return { rows: this.#rows, removed: this.#removed };
	}

	#writeProgress(): void {
		if (!this.#isBegun || performance.now() - this.#writtenMs < WRITE_MS) return;
		this.#writtenMs = performance.now();
		this.#put({ ...this.#counts(), waitingSince: undefined }).catch((error: unknown) => {
			// A record that does not answer stops nobody's work; one that says that it is not ours does.
			if (error instanceof Halted) this.halt(error);
		});
	}

	/** @throws {Halted} when the record has been changed by others meanwhile. */
	async #put(change: RunChange & CustomerChange): Promise<void> {
		const ours = this.#isBegun ? { states: ["running"] as const, node: this.#deps.node } : { states: OPEN };
		if (!(await this.#change(ours, change))) throw notOurs();
	}

	async #change(expected: RunExpected, change: RunChange & CustomerChange): Promise<boolean> {
		const full = { ...change, updatedAt: this.#now() };
		const isDone = await this.#deps.runs.change(this.#run.id, expected, full);
		if (isDone) this.#run = { ...this.#run, ...full } as Run;
		return isDone;
	}

	async #setAside(error: unknown): Promise<void> {
		const { state, reason } = verdictOn(error);
		if (state === "refused" || reason.code === "TRY_FAILED") this.#deps.onError(error);
		const endedAt = state === "refused" ? this.#now() : null;
		const waitingSince = state === "waiting" ? (this.#run.waitingSince ?? this.#now()) : undefined;
		await this.#change(this.#expected(), { state, reason, endedAt, waitingSince, ...this.#counts() });
		this.#run = { ...this.#run, state, reason };
	}

	/** A run that could not be begun here may be under way elsewhere: whoever writes of its progress goes on writing. */
	#expected(): RunExpected {
		if (this.#isBegun) return { states: ["running"], node: this.#deps.node };
		const isStale = this.#deps.nowMs() - Date.parse(this.#run.updatedAt) > STALE_MS;
		return { states: isStale ? OPEN : ["planned", "waiting"] };
	}

	#now(): string {
		return new Date(this.#deps.nowMs()).toISOString();
	}
}

function notOurs(): Halted {
	return new Halted("STOPPED", "the run was stopped, or another process works on it");
}
