import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import type { ArchiveState, Run } from "../contracts/archive.ts";
import { Fault } from "../contracts/errors.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import {
	ARCHIVE_REQUEST,
	CUSTOMER,
	HISTORY_QUERY,
	NOTHING,
	REBALANCE,
	RUN_KEY,
	RUN_QUERY,
	SHARD_KEY,
	SHARD_MOVE,
	SHARD_RESUME,
} from "../contracts/rules.ts";
import { byUrgency, ENDED, NOT_ENDED } from "../domain/jobs/runs.ts";
import { collectionsByTier } from "../domain/routing/tiers.ts";
import { ShardMoves } from "../jobs/move-requests.ts";
import { monthStates } from "../jobs/plan/archive-status.ts";
import { shardsState } from "../jobs/plan/shard-status.ts";
import { MOST_RUNS } from "../jobs/runs/open-run.ts";
import { Mover } from "../jobs/scheduler.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { showArchive } from "../lib/metrics/archive-metrics.ts";
import { metricsOf } from "../lib/metrics/metrics.ts";
import { broadcast, defineService } from "../lib/moleculer/service.ts";
import { answerWithin, inTime } from "../lib/timeout.ts";
import { admission } from "../mixins/admission.mixin.ts";
import { type HasRouting, routing } from "../mixins/routing.mixin.ts";
import { type HasRuns, runs } from "../mixins/runs.mixin.ts";
import { readHistory } from "../stores/routing/map-history.ts";

interface Vars extends HasRouting, HasAdmission, HasRuns {
	mover: Mover;
	moves: ShardMoves;
}
type MoverService = Service & Vars;

const FIRST_LOOK_MS = 60_000;
/** Of a view: better with a gap than late. */
const RECORD_MS = 1_500;
const LAST_ENDED = 20;
const LIST_DEFAULT = 100;

/** Archives months, and drops them when their time is over; moves shards; erases customers. */
export default function archiveMover(config: Config): ServiceSchema {
	return defineService<"archive.mover", Vars>({
		name: "archive.mover",
		mixins: [routing(config), admission(config), runs(config)],
		actions: {
			plan: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					return this.mover.plan();
				},
			},
			run: {
				access: ["operator"],
				params: ARCHIVE_REQUEST,
				async handler(ctx, caller) {
					return this.mover.ask(ctx.params, caller.name);
				},
			},
			stop: {
				access: ["operator"],
				params: NOTHING,
				async handler(_ctx, caller) {
					return { runs: await this.mover.stopRuns(caller.name) };
				},
			},
			status: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					return stateOf(this);
				},
			},
			runs: {
				access: ["operator"],
				params: RUN_QUERY,
				async handler(ctx) {
					const { state, kind, limit = LIST_DEFAULT } = ctx.params;
					return { runs: await this.runs.list({ ...(state && { states: [state] }), ...(kind && { kind }), limit }) };
				},
			},
			find: {
				access: ["operator"],
				params: RUN_KEY,
				async handler(ctx) {
					const run = await this.runs.get(ctx.params.id);
					if (run === null) throw new Fault("RUN_NOT_FOUND", `There is no run ${ctx.params.id}.`);
					return run;
				},
			},
			history: {
				access: ["operator"],
				params: HISTORY_QUERY,
				async handler(ctx) {
					return readHistory(this.clusters, ctx.params);
				},
			},
			shards: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					await this.routing.reload().catch(() => undefined);
					const { clusters, runs: record } = this;
					return shardsState({ clusters, runs: record, nowMs: Date.now }, this.routing.current);
				},
			},
			rebalancePlan: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					return this.moves.plan();
				},
			},
			rebalance: {
				access: ["operator"],
				params: REBALANCE,
				async handler(ctx, caller) {
					return this.moves.rebalance(ctx.params, caller.name);
				},
			},
			moveShard: {
				access: ["operator"],
				params: SHARD_MOVE,
				async handler(ctx, caller) {
					return this.moves.move(ctx.params, caller.name);
				},
			},
			pauseMove: {
				access: ["operator"],
				params: SHARD_KEY,
				async handler(ctx, caller) {
					return this.moves.pause(ctx.params.shard, caller.name);
				},
			},
			resumeMove: {
				access: ["operator"],
				params: SHARD_RESUME,
				async handler(ctx, caller) {
					return this.moves.resume(ctx.params, caller.name);
				},
			},
			cancelMove: {
				access: ["operator"],
				params: SHARD_KEY,
				async handler(ctx, caller) {
					return this.moves.cancel(ctx.params.shard, caller.name);
				},
			},
			erase: {
				access: ["operator"],
				params: CUSTOMER,
				async handler(ctx, caller) {
					return this.mover.erase(ctx.params.userId, caller.name);
				},
			},
		},
		events: {
			async "archive.runs.changed"(ctx) {
				if (ctx.nodeID !== this.broker.nodeID) this.mover?.wake();
			},
		},
		async started() {
			this.mover = moverOf(this, config);
			this.moves = movesOf(this);
			showArchive(metricsOf(this.broker), {
				runs: () => inTime(this.runs.countByState(), RECORD_MS),
				waitingSinceMs: () => inTime(longestWaiting(this), RECORD_MS),
				tiers: () => collectionsByTier(this.routing.current),
				nowMs: Date.now,
			});
			this.mover.start();
		},
		async stopped() {
			await this.mover?.stop();
		},
	});
}

function moverOf(service: MoverService, config: Config): Mover {
	const { broker, clusters, logger, runs: record } = service;
	return new Mover({
		clusters,
		runs: record,
		logger,
		node: broker.nodeID,
		nowMs: Date.now,
		isRealClock: true,
		limits: { serviceDays: config.serviceDays, archiveDays: config.archiveDays, mostDrops: config.archiveMostDrops },
		everyMs: config.archiveEveryMs,
		graceMs: config.archiveGraceMs,
		firstLookMs: FIRST_LOOK_MS,
		rowsPerSecond: config.archiveRowsPerSecond,
		moveRowsPerSecond: config.moveRowsPerSecond,
		movesAtOnce: config.shardMovesAtOnce,
		onMap: (map) => announceMap(service, map),
		onRows: (count) => metricsOf(broker).moved(count),
		onRuns: () => quietly(service, broadcast(broker, "archive.runs.changed", {})),
		onDone: (run) => quietly(service, announceDone(service, run)),
		onError: (error) => logger.warn(`the archive mover: ${error instanceof Error ? error.stack : error}`),
	});
}

function movesOf({ clusters, runs: record, mover }: MoverService): ShardMoves {
	return new ShardMoves({ clusters, runs: record, nowMs: Date.now, announce: () => mover.announce() });
}

function announceMap(service: MoverService, map: RoutingMap): void {
	service.routing.take(map);
	quietly(service, broadcast(service.broker, "shard.map.changed", { version: map.version }));
}

async function announceDone({ broker }: MoverService, { kind, shard, month, rows }: Run): Promise<void> {
	if (month === null) return;
	if (kind === "archive") await broadcast(broker, "archive.month.archived", { shard, month, rows: rows.total });
	if (kind === "drop") await broadcast(broker, "archive.month.dropped", { shard, month });
}

/** News is found by polling, too. */
function quietly(service: MoverService, news: Promise<unknown>): void {
	news.catch((error: unknown) => service.logger.debug(`news of the archive was not sent: ${error}`));
}

async function longestWaiting({ runs: record }: MoverService): Promise<number | null> {
	const waiting = await record.list({ states: ["waiting"], limit: MOST_RUNS });
	const since = waiting.map(({ waitingSince, updatedAt }) => Date.parse(waitingSince ?? updatedAt));
	return since.length === 0 ? null : Math.min(...since);
}

async function stateOf({
	broker,
	clusters,
	routing: cached,
	runs: record,
	mover,
}: MoverService): Promise<ArchiveState> {
	const [{ months, unavailable }, open, ended] = await Promise.all([
		monthStates(clusters, cached.current),
		answerWithin(RECORD_MS, record.list({ states: NOT_ENDED, limit: MOST_RUNS })),
		answerWithin(RECORD_MS, record.list({ states: ENDED, limit: LAST_ENDED })),
	]);
	const looks = { lastLook: mover.lastLook, nextLook: mover.nextLook };
	const at = new Date().toISOString();
	return { at, node: broker.nodeID, months, open: open?.sort(byUrgency) ?? null, ended, ...looks, unavailable };
}
