import type { Run } from "../contracts/archive.ts";
import { Fault } from "../contracts/errors.ts";
import type {
	MovesBegun,
	RebalancePlan,
	RebalanceRequest,
	ShardMoveRequest,
	ShardResumeRequest,
} from "../contracts/shards.ts";
import {
	canceledBy,
	moveToCancel,
	moveToChange,
	pausedBy,
	rejectMove,
	rejectStrayed,
} from "../domain/jobs/move-requests.ts";
import { planFacts, rebalancePlan } from "../domain/jobs/rebalance.ts";
import { moveIdOf, NOT_ENDED, OPEN, reopened } from "../domain/jobs/runs.ts";
import type { Clusters } from "../stores/mongo/clusters.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import { findShown, keepShown, SHOWN_MINUTES } from "./plan/confirmed-plans.ts";
import { shardSizes } from "./plan/shard-sizes.ts";
import { MOST_RUNS, openRun } from "./runs/open-run.ts";
import type { RunStore } from "./runs/run-store.ts";

/** What operators ask of the moves of shards: changes of the record, which whoever works on them obeys. */
interface ShardMovesDeps {
	clusters: Clusters;
	runs: RunStore;
	nowMs: () => number;
	/** Runs were opened or changed. */
	announce: () => void;
}

function loadUnknown(clusters: string[]): Fault {
	const message = `No plan can be made: ${clusters.join(", ")} does not tell what it carries.`;
	return new Fault("UNAVAILABLE", message, { retryAfterS: 5 });
}

function whyRejected(error: unknown): string {
	if ((error as Partial<Fault>).type === "MOVE_REJECTED") return (error as Fault).message;
	throw error;
}

function planUnknown(id: string): Fault {
	const message = `No plan ${id} was shown in the last ${SHOWN_MINUTES} minutes. Look at the plan as it is now, and confirm that.`;
	return new Fault("PLAN_CHANGED", message);
}

export class ShardMoves {
	readonly #deps: ShardMovesDeps;

	constructor(deps: ShardMovesDeps) {
		this.#deps = deps;
	}

	/** @throws {Fault} SHARD_NOT_FOUND, MOVE_REJECTED, UNAVAILABLE */
	async move(request: ShardMoveRequest, by: string): Promise<Run> {
		const { shard, to } = request;
		rejectMove(await newestMap(this.#deps.clusters), await this.#movesOf(shard), request);
		const work = { id: moveIdOf(shard, to), kind: "move", shard, month: null, to } as const;
		const run = await openRun(this.#deps, work, request, by);
		this.#deps.announce();
		return run;
	}

	/** What was copied stays, and is gone on with when the move is resumed. @throws {Fault} also MOVE_NOT_FOUND */
	async pause(shard: number, by: string): Promise<Run> {
		const run = await this.#toChange(shard);
		if (run.state === "stopped") return run;
		return this.#change(run, OPEN, pausedBy(by, this.#deps.nowMs()));
	}

	/** Of one that is under way only the rate changes. */
	async resume({ shard, rate }: ShardResumeRequest, by: string): Promise<Run> {
		const run = await this.#toChange(shard);
		const asked = rate ?? run.rate;
		const change = reopened(run, asked === undefined ? {} : { rate: asked }, by, this.#deps.nowMs());
		return change === null ? run : this.#change(run, [run.state], change);
	}

	/** A mover drops the copies; the answer does not wait for it. @throws {Fault} MOVE_REJECTED once the map was switched */
	async cancel(shard: number, by: string): Promise<Run> {
		const run = moveToCancel(await newestMap(this.#deps.clusters), await this.#movesOf(shard), shard);
		if (run.canceling) return run;
		return this.#change(run, [...NOT_ENDED, "refused"], canceledBy(by, this.#deps.nowMs()));
	}

	/** What would even the load; nothing is moved. @throws {Fault} UNAVAILABLE when a cluster does not tell what it carries. */
	async plan(): Promise<RebalancePlan> {
		const { clusters, runs, nowMs } = this.#deps;
		const map = await newestMap(clusters);
		const [{ sizes, unavailable }, moves] = await Promise.all([
			shardSizes(clusters, map, nowMs()),
			runs.list({ kind: "move", states: NOT_ENDED, limit: MOST_RUNS }),
		]);
		if (unavailable.length > 0) throw loadUnknown(unavailable);
		const plan = rebalancePlan(...planFacts(map, sizes, moves));
		await keepShown(clusters, plan, nowMs());
		return plan;
	}

	/** Opens the moves of the plan that was shown; once more is the same as once. @throws {Fault} PLAN_CHANGED */
	async rebalance({ confirm, rate }: RebalanceRequest, by: string): Promise<MovesBegun> {
		const { clusters, nowMs } = this.#deps;
		const plan = await findShown(clusters, confirm, nowMs());
		if (plan === null) throw planUnknown(confirm);
		rejectStrayed(await newestMap(clusters), plan.moves);
		const [begun, skipped]: [Run[], MovesBegun["skipped"]] = [[], []];
		for (const move of plan.moves) {
			const { shard, to } = move;
			// One that was refused before, until somebody has looked, is not to hold up the others.
			await this.move({ shard, to, ...(rate !== undefined && { rate }) }, by).then(
				(run) => begun.push(run),
				(error: unknown) => skipped.push({ ...move, why: whyRejected(error) }),
			);
		}
		return { begun, skipped, plan };
	}

	async #toChange(shard: number): Promise<Run> {
		return moveToChange(await newestMap(this.#deps.clusters), await this.#movesOf(shard), shard);
	}

	/** As long as it is what it was when it was looked at. */
	async #change(run: Run, states: readonly Run["state"][], change: Parameters<RunStore["change"]>[2]): Promise<Run> {
		const { runs, announce } = this.#deps;
		const isChanged = await runs.change(run.id, { states, isCanceling: false }, change);
		const now = await runs.get(run.id);
		if (!isChanged || now === null)
			throw new Fault("MOVE_REJECTED", `The move ${run.id} is ${now?.state ?? "gone"} meanwhile; look, and ask again.`);
		announce();
		return now;
	}

	async #movesOf(shard: number): Promise<Run[]> {
		const moves = await this.#deps.runs.list({ kind: "move", limit: MOST_RUNS });
		return moves.filter((run) => run.shard === shard);
	}
}
