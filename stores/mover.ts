import { setTimeout as sleep } from "node:timers/promises";
import type { ArchivePlan, ArchiveRequest, ArchiveState, Run, RunAnswer } from "../contracts/archive.ts";
import { archivePlan } from "../domain/archive-plan.ts";
import { daysBefore } from "../domain/periods.ts";
import { byUrgency, Halted, isOpen, OPEN, pauseMs, RUN_DAYS } from "../domain/runs.ts";
import { gatherFacts } from "./archive-facts.ts";
import { dropAway } from "./away.ts";
import { newestMap } from "./map-change.ts";
import { MOST_RUNS, openErase, openRun, stopRuns } from "./run-opening.ts";
import { RunWork, type WorkDeps } from "./run-work.ts";

/** Looks what is due from time to time and works runs off, one at a time. Several movers share the runs: the shard's duty decides. */
export interface MoverDeps extends WorkDeps {
	/** 0: plans only when it is asked. */
	everyMs: number;
	graceMs: number;
	firstLookMs: number;
	/** False where `nowMs` is made to say something else than the databases' clocks. */
	isRealClock: boolean;
	onDone: (run: Run) => void;
	/** Runs were opened or stopped: other movers look at once. */
	onRuns: () => void;
	logger: { info(text: string): void; warn(text: string): void; error(text: string): void };
}

/** Open runs are looked for so often; news comes by an event, unless it is lost. */
const POLL_MS = 2_000;
const AFTER_FAILURE_MS = 60_000;
const TIDY_MS = 3_600_000;
const SCHEDULE = "schedule";

export class Mover {
	readonly #deps: MoverDeps;
	readonly #resting = new Map<string, { tries: number; untilMs: number }>();
	readonly #stop = new AbortController();
	#nap = new AbortController();
	#lookAtMs: number;
	#lastLook: ArchiveState["lastLook"] = null;
	#work: RunWork | null = null;
	#loop: Promise<void> | null = null;

	constructor(deps: MoverDeps) {
		this.#deps = deps;
		this.#lookAtMs = performance.now() + deps.firstLookMs;
	}

	get lastLook(): ArchiveState["lastLook"] {
		return this.#lastLook;
	}

	get nextLook(): string | null {
		if (this.#deps.everyMs === 0) return null;
		return new Date(this.#deps.nowMs() + this.#lookAtMs - performance.now()).toISOString();
	}

	start(): void {
		this.#loop ??= this.#run();
	}

	/** Ends the work under way between two chunks; another mover, or the next start, goes on with it. */
	async stop(): Promise<void> {
		this.#stop.abort();
		this.#work?.halt(new Halted("PROCESS_STOPPED", "its process was stopped; the next mover goes on with it"));
		this.#nap.abort();
		await this.#loop;
	}

	/** Runs were opened or stopped somewhere. */
	wake(): void {
		this.#resting.clear();
		this.#nap.abort();
		void this.#work?.check();
	}

	async plan(asked: ArchiveRequest = {}): Promise<ArchivePlan> {
		const { clusters, nowMs, isRealClock, limits } = this.#deps;
		const map = await newestMap(clusters);
		return archivePlan(await gatherFacts(clusters, map, { nowMs: nowMs(), isReal: isRealClock }), limits, asked);
	}

	/** Opens runs for what is due; does not wait for them. */
	async ask(asked: ArchiveRequest, by: string): Promise<RunAnswer> {
		const plan = await this.plan(asked);
		const runs = await Promise.all(plan.due.map((due) => openRun(this.#deps, due, asked, by)));
		this.#announce();
		const { begun = [], left = [] } = Object.groupBy(runs, ({ state }) => (isOpen(state) ? "begun" : "left"));
		return { begun, left, plan };
	}

	/** Puts the erasing of a customer on record; does not wait for it. */
	async erase(userId: string, by: string): Promise<Run> {
		const run = await openErase(this.#deps, userId, by);
		this.#announce();
		return run;
	}

	/** Stops every open run, whoever works on it. */
	async stopRuns(by: string): Promise<Run[]> {
		const stopped = await stopRuns(this.#deps, by);
		this.#announce();
		return stopped;
	}

	#announce(): void {
		this.wake();
		this.#deps.onRuns();
	}

	async #run(): Promise<void> {
		const { signal } = this.#stop;
		while (!signal.aborted) {
			// From here on a wake is not missed: the next nap is then over at once.
			this.#nap = new AbortController();
			try {
				if (performance.now() >= this.#lookAtMs) await this.#look();
				await this.#workOff();
			} catch (error) {
				this.#deps.logger.warn(`the archive mover tries again: ${error}`);
			}
			await sleep(POLL_MS, undefined, { signal: this.#nap.signal }).catch(() => undefined);
		}
	}

	/** Plans, and drops sources whose time of grace is over; neither when the clock is not to be believed. */
	async #look(): Promise<void> {
		const { everyMs, logger, nowMs } = this.#deps;
		this.#lookAtMs = performance.now() + AFTER_FAILURE_MS;
		const plan = await this.plan();
		this.#lastLook = { at: plan.at, refused: plan.refused, kept: plan.kept };
		if (plan.refused !== null) logger.warn(`nothing is archived: ${plan.refused.message}`);
		else if (everyMs > 0) await Promise.all(plan.due.map((due) => openRun(this.#deps, due, null, SCHEDULE)));
		if (plan.refused === null) await this.#tidy(nowMs());
		this.#lookAtMs = performance.now() + (everyMs || TIDY_MS);
	}

	async #tidy(nowMs: number): Promise<void> {
		const { graceMs, runs, logger } = this.#deps;
		const { dropped, errors } = await dropAway(this.#deps, graceMs);
		for (const name of dropped) logger.info(`dropped ${name}: its time of grace is over`);
		for (const error of errors) logger.warn(`the source of an archived month could not be dropped: ${error}`);
		await runs.removeEndedBefore(new Date(daysBefore(nowMs, RUN_DAYS)).toISOString());
	}

	async #workOff(): Promise<void> {
		for (let run = await this.#next(); run !== undefined; run = await this.#next()) {
			if (this.#stop.signal.aborted) return;
			this.#work = new RunWork(this.#deps, run);
			try {
				this.#note(run, await this.#work.work());
			} finally {
				this.#work = null;
			}
		}
	}

	/** The most urgent open run that does not rest. */
	async #next(): Promise<Run | undefined> {
		const open = await this.#deps.runs.list({ states: OPEN, limit: MOST_RUNS });
		const nowMs = performance.now();
		return open.filter(({ id }) => (this.#resting.get(id)?.untilMs ?? 0) <= nowMs).sort(byUrgency)[0];
	}

	#note(before: Run, run: Run): void {
		const { logger, onDone } = this.#deps;
		const why = run.reason === null ? "" : `: ${run.reason.message}`;
		if (run.state === "waiting") this.#rest(run);
		else this.#resting.delete(run.id);
		if (run.state === "done") onDone(run);
		// One that waits for long is told once.
		if (run.state !== before.state || run.reason?.code !== before.reason?.code) {
			logger[run.state === "refused" ? "error" : "info"](`run ${run.id} is ${run.state}${why}`);
		}
	}

	#rest({ id, reason }: Run): void {
		const tries = (this.#resting.get(id)?.tries ?? 0) + 1;
		this.#resting.set(id, { tries, untilMs: performance.now() + pauseMs(tries, reason?.code ?? "") });
	}
}
