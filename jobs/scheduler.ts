import { setTimeout as sleep } from "node:timers/promises";
import type { ArchivePlan, ArchiveRequest, ArchiveState, Run, RunAnswer } from "../contracts/archive.ts";
import { archivePlan } from "../domain/jobs/archive-plan.ts";
import { byUrgency, Halted, isOpen, mayBegin, OPEN, pauseMs, RUN_DAYS, runIdOf } from "../domain/jobs/runs.ts";
import { daysBefore } from "../domain/time/periods.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import { forgetHistory } from "../stores/routing/map-history.ts";
import { dropRetainedArchives } from "./migrate/drop-archived-source.ts";
import { dropRetainedMoves } from "./migrate/drop-moved-source.ts";
import { gatherFacts } from "./plan/archive-facts.ts";
import { RunWork, type WorkDeps } from "./run-worker.ts";
import { MOST_RUNS, openErase, openRun, stopRuns } from "./runs/open-run.ts";

/**
 * Looks what is due from time to time and works runs off: moves of shards some at a time, everything else one at a time beside them.
 * Several movers share the runs: the shard's duty decides.
 */
export interface MoverDeps extends WorkDeps {
	/** Moves of shards, of all movers together. */
	movesAtOnce: number;
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

/** Which runs a lane takes up. */
type IsOurs = (run: Run) => boolean;
const isMove: IsOurs = ({ kind }) => kind === "move";
/** Also to give up a move, which may not wait for others that take hours. */
const isOther: IsOurs = (run) => !isMove(run) || run.canceling === true;

export class Mover {
	readonly #deps: MoverDeps;
	readonly #resting = new Map<string, { code: string; tries: number; untilMs: number }>();
	readonly #stop = new AbortController();
	readonly #naps = new Set<AbortController>();
	#lookAtMs: number;
	#lastLook: ArchiveState["lastLook"] = null;
	/** In hand, by the id of the run. */
	readonly #works = new Map<string, RunWork>();
	#lanes: Promise<void>[] = [];

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
		if (this.#lanes.length > 0) return;
		const moves = Array.from({ length: this.#deps.movesAtOnce }, () => this.#run(isMove, async () => undefined));
		this.#lanes = [this.#run(isOther, () => this.#lookInTime()), ...moves];
	}

	/** Ends the work under way between two chunks; another mover, or the next start, goes on with it. */
	async stop(): Promise<void> {
		this.#stop.abort();
		const why = new Halted("PROCESS_STOPPED", "its process was stopped; the next mover goes on with it");
		for (const work of this.#works.values()) work.halt(why);
		for (const nap of this.#naps) nap.abort();
		await Promise.all(this.#lanes);
	}

	/** Runs were opened or stopped somewhere. */
	wake(): void {
		this.#resting.clear();
		for (const nap of this.#naps) nap.abort();
		for (const work of this.#works.values()) void work.check();
	}

	async plan(asked: ArchiveRequest = {}): Promise<ArchivePlan> {
		const { clusters, nowMs, isRealClock, limits } = this.#deps;
		const map = await newestMap(clusters);
		return archivePlan(await gatherFacts(clusters, map, { nowMs: nowMs(), isReal: isRealClock }), limits, asked);
	}

	/** Opens runs for what is due; does not wait for them. */
	async ask(asked: ArchiveRequest, by: string): Promise<RunAnswer> {
		const plan = await this.plan(asked);
		const runs = await Promise.all(plan.due.map((due) => openRun(this.#deps, { id: runIdOf(due), ...due }, asked, by)));
		this.announce();
		const { begun = [], skipped = [] } = Object.groupBy(runs, ({ state }) => (isOpen(state) ? "begun" : "skipped"));
		return { begun, skipped, plan };
	}

	/** Puts the erasing of a customer on record; does not wait for it. */
	async erase(userId: string, by: string): Promise<Run> {
		const run = await openErase(this.#deps, userId, by);
		this.announce();
		return run;
	}

	/** Stops every open run but the moves of shards, whoever works on it. */
	async stopRuns(by: string): Promise<Run[]> {
		const stopped = await stopRuns(this.#deps, by);
		this.announce();
		return stopped;
	}

	/** Runs were opened or changed: every mover looks at once. */
	announce(): void {
		this.wake();
		this.#deps.onRuns();
	}

	/** One lane: one run at a time. */
	async #run(isOurs: IsOurs, before: () => Promise<void>): Promise<void> {
		const { signal } = this.#stop;
		while (!signal.aborted) {
			// From here on a wake is not missed: the next nap is then over at once.
			const nap = new AbortController();
			this.#naps.add(nap);
			try {
				await before();
				await this.#workOff(isOurs);
			} catch (error) {
				this.#deps.logger.warn(`a lane of the mover tries again: ${error}`);
			}
			await sleep(POLL_MS, undefined, { signal: nap.signal }).catch(() => undefined);
			this.#naps.delete(nap);
		}
	}

	async #lookInTime(): Promise<void> {
		if (performance.now() >= this.#lookAtMs) await this.#look();
	}

	/** Plans, and drops sources whose time of grace is over; neither when the clock is not to be believed. */
	async #look(): Promise<void> {
		const { everyMs, logger, nowMs } = this.#deps;
		this.#lookAtMs = performance.now() + AFTER_FAILURE_MS;
		const plan = await this.plan();
		this.#lastLook = { at: plan.at, refused: plan.refused, kept: plan.kept };
		if (plan.refused !== null) logger.warn(`nothing is archived: ${plan.refused.message}`);
		else if (everyMs > 0)
			await Promise.all(plan.due.map((due) => openRun(this.#deps, { id: runIdOf(due), ...due }, null, SCHEDULE)));
		if (plan.refused === null) await this.#tidy(nowMs());
		this.#lookAtMs = performance.now() + (everyMs || TIDY_MS);
	}

	async #tidy(nowMs: number): Promise<void> {
		const { clusters, graceMs, runs, logger } = this.#deps;
		for (const drop of [dropRetainedArchives, dropRetainedMoves]) {
			const { dropped, errors } = await drop(this.#deps, graceMs);
			for (const name of dropped) logger.info(`dropped ${name}: its time of grace is over`);
			for (const error of errors) logger.warn(`what an archived month or a moved shard has left stays: ${error}`);
		}
		const longAgoMs = daysBefore(nowMs, RUN_DAYS);
		await runs.removeEndedBefore(new Date(longAgoMs).toISOString());
		await forgetHistory(clusters, longAgoMs);
	}

	async #workOff(isOurs: IsOurs): Promise<void> {
		for (let run = await this.#take(isOurs); run !== undefined; run = await this.#take(isOurs)) {
			try {
				this.#note(run, (await this.#works.get(run.id)?.work()) ?? run);
			} finally {
				this.#works.delete(run.id);
			}
		}
	}

	/** The most urgent open run that does not rest and that no lane here has in hand: now this one has. */
	async #take(isOurs: IsOurs): Promise<Run | undefined> {
		const open = await this.#deps.runs.list({ states: OPEN, limit: MOST_RUNS });
		if (this.#stop.signal.aborted) return undefined;
		const { movesAtOnce, nowMs } = this.#deps;
		const isFree = ({ id }: Run) => !this.#works.has(id) && (this.#resting.get(id)?.untilMs ?? 0) <= performance.now();
		const mayNow = (run: Run) => isOurs(run) && isFree(run) && mayBegin(run, open, movesAtOnce, nowMs());
		const [run] = open.filter(mayNow).sort(byUrgency);
		if (run !== undefined) this.#works.set(run.id, new RunWork(this.#deps, run));
		return run;
	}

	#note(before: Run, run: Run): void {
		const { logger, onDone } = this.#deps;
		const why = run.reason === null ? "" : `: ${run.reason.message}`;
		// One that waits for long is told once, also where its record says that it is under way elsewhere.
		const isTold = run.state === "waiting" && this.#resting.get(run.id)?.code === run.reason?.code;
		if (run.state === "waiting") this.#rest(run);
		else this.#resting.delete(run.id);
		if (run.state === "done") onDone(run);
		if (!isTold && (run.state !== before.state || run.reason?.code !== before.reason?.code)) {
			logger[run.state === "refused" ? "error" : "info"](`run ${run.id} is ${run.state}${why}`);
		}
	}

	#rest({ id, reason }: Run): void {
		const code = reason?.code ?? "";
		const tries = (this.#resting.get(id)?.tries ?? 0) + 1;
		this.#resting.set(id, { code, tries, untilMs: performance.now() + pauseMs(tries, code) });
	}
}
