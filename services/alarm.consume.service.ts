import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { LanePriority } from "../consume/lane-priority.ts";
import { drainParked, type HasStoring, newDelays, storeRound } from "../consume/store-round.ts";
import { LANES, type Lane } from "../contracts/alarm.ts";
import { NOTHING } from "../contracts/rules.ts";
import { lowWatermark } from "../domain/alarms/low-watermark.ts";
import { recentDelays } from "../domain/time/delay-record.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { showDelays } from "../lib/metrics/delay-metric.ts";
import { metricsOf } from "../lib/metrics/metrics.ts";
import { defineService } from "../lib/moleculer/service.ts";
import { answerWithin, inTime } from "../lib/timeout.ts";
import { admission } from "../mixins/admission.mixin.ts";
import { clock } from "../mixins/clock.mixin.ts";
import { type HasStreams, jetstream } from "../mixins/jetstream.mixin.ts";
import { type HasRouting, routing } from "../mixins/routing.mixin.ts";
import { oldestIn, outboxes } from "../stores/alarms/outbox.ts";
import { CircuitBreakers } from "../stores/mongo/circuit-breakers.ts";
import { publishLowWatermark } from "../stores/routing/low-watermark.ts";
import { backlogOf, type LaneBacklog } from "../streams/backlog.ts";
import { Drainers } from "../streams/drainers.ts";
import { ensureLane, laneSize, WORKER } from "../streams/lanes.ts";
import { LaneWorker } from "../streams/worker.ts";

interface Vars extends HasRouting, HasAdmission, HasStreams, HasStoring {
	workers: LaneWorker[];
	drainers: Map<Lane, Drainers>;
	backlogTimer: NodeJS.Timeout;
	isLooking: boolean;
}

const BACKLOG_MS = 1_000;
/** A database that takes longer holds the watermark back, but no drainer of another cluster. */
const ANSWER_MS = 1_000;
/** Rounds of a lane at once; of bulk only one while realtime has the right of way. */
const CONCURRENCY = 3;
/** Longest wait before a batch comes again that could neither be stored nor parked. */
const MOST_RETRY_MS = 15_000;

/** Stores what was accepted: many batches at a time, one slot per id, acked after everything is safe. */
export default function alarmConsume(config: Config): ServiceSchema {
	return defineService<"alarm.consume", Vars>({
		name: "alarm.consume",
		mixins: [routing(config), jetstream(config, "consume"), admission(config), clock(config)],
		actions: {
			delays: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					const { realtime, bulk } = this.delays;
					const nowMs = Date.now();
					return { realtime: recentDelays(realtime, nowMs), bulk: recentDelays(bulk, nowMs) };
				},
			},
		},
		async started() {
			this.metrics = metricsOf(this.broker);
			this.delays = newDelays(Date.now());
			showDelays(this.metrics, (lane) => this.delays[lane].total);
			this.breakers = new CircuitBreakers();
			this.lanePriority = new LanePriority();
			this.drainers = new Map(LANES.map((lane) => [lane, drainersOf(this, config, lane)]));
			this.workers = LANES.map((lane) => workerOf(this, config, lane));
			for (const worker of this.workers) worker.start();
			this.isLooking = false;
			this.backlogTimer = setInterval(() => void lookOnce(this), BACKLOG_MS).unref();
		},
		async stopped() {
			clearInterval(this.backlogTimer);
			const loops = [...(this.workers ?? []), ...(this.drainers?.values() ?? [])];
			await Promise.all(loops.map((loop) => loop.stop()));
		},
	});
}

function workerOf(service: Service & Vars, config: Config, lane: Lane): LaneWorker {
	return new LaneWorker(service.streams, (deliveries, onSlow) => storeRound(service, lane, deliveries, onSlow), {
		lane,
		consumer: WORKER,
		prefetch: config.workerPrefetch,
		concurrency: () => (lane === "bulk" && service.lanePriority.isExpected ? 1 : CONCURRENCY),
		mostRetryMs: MOST_RETRY_MS,
		prepare: async () => ensureLane(await service.streams.manager(), lane, laneSize(config)),
		workingMs: config.ackWaitMs / 3,
		onError: (error) => service.logger.error(`the ${lane} worker: ${error instanceof Error ? error.stack : error}`),
	});
}

function drainersOf(service: Service & Vars, config: Config, lane: Lane): Drainers {
	return new Drainers(service.streams, (deliveries) => drainParked(service, lane, deliveries), {
		lane,
		size: laneSize(config),
		onError: (error) => service.logger.error(`draining what is parked on ${lane}: ${error}`),
	});
}

/** One look at a time: a slow one is not overtaken. */
async function lookOnce(service: Service & Vars): Promise<void> {
	if (service.isLooking) return;
	service.isLooking = true;
	await lookAtBacklog(service);
	service.isLooking = false;
}

/** Publishes the low-watermark, and sees to it that whatever is parked has its drainer. */
async function lookAtBacklog(service: Service & Vars): Promise<void> {
	if (service.streams.jetstream === null) return;
	try {
		const askedMs = Date.now();
		// Outboxes first: what is relayed in between is then found in the streams.
		const saved = await answerWithin(ANSWER_MS, outboxesOldest(service));
		const manager = await service.streams.manager();
		const queued = await Promise.all(LANES.map((lane) => backlogOf(manager, lane)));
		await fitDrainers(service, queued);
		if (saved === null) return;
		await inTime(publishLowWatermark(service.clusters, lowWatermark([...queued, ...saved], askedMs)), ANSWER_MS);
	} catch (error) {
		service.logger.debug(`the low-watermark was not published: ${error}`);
	}
}

/** @throws when an outbox does not answer: then the watermark stays where it is. */
async function outboxesOldest({ clusters, routing: cached }: Service & Vars): Promise<{ oldestMs: number | null }[]> {
	const oldest = outboxes(clusters, cached.current).map((target) => oldestIn(clusters, target));
	return (await Promise.all(oldest)).map((oldestMs) => ({ oldestMs }));
}

async function fitDrainers({ drainers }: Service & Vars, queued: LaneBacklog[]): Promise<void> {
	await Promise.all(LANES.map((lane, at) => drainers.get(lane)?.fit(queued[at]?.parked ?? new Map())));
}
