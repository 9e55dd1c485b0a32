import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { LANES, type Lane } from "../contracts/alarm.ts";
import { NOTHING } from "../contracts/rules.ts";
import { type Decoded, decodeBatch } from "../domain/batch.ts";
import { addDelay, noDelays } from "../domain/delay-histogram.ts";
import { type DelayRecord, newRecord, recentDelays, recordDelays } from "../domain/delay-record.ts";
import { lowWatermark } from "../domain/low-watermark.ts";
import { type Decision, triage } from "../domain/triage.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { showDelays } from "../lib/delay-metric.ts";
import { type Metrics, metricsOf } from "../lib/metrics.ts";
import { defineService } from "../lib/service.ts";
import { admission } from "../mixins/admission.mixin.ts";
import { type HasStreams, jetstream } from "../mixins/jetstream.mixin.ts";
import { type HasRouting, routing } from "../mixins/routing.mixin.ts";
import { type Outcome, takeIn } from "../stores/intake.ts";
import { type LedgerRow, writeLedger } from "../stores/ledger.ts";
import { publishLowWatermark } from "../stores/low-watermark.ts";
import { backlogOf } from "../streams/backlog.ts";
import { ensureLane, laneSize } from "../streams/lanes.ts";
import { type Delivery, LaneWorker } from "../streams/worker.ts";

interface Vars extends HasRouting, HasStreams, HasAdmission {
	metrics: Metrics;
	delays: Record<Lane, DelayRecord>;
	workers: LaneWorker[];
	watermarkTimer: NodeJS.Timeout;
}

const WATERMARK_MS = 1_000;

/** Stores what was accepted: many batches at a time, one slot per id, acked after everything is safe. */
export default function alarmConsume(config: Config): ServiceSchema {
	return defineService<"alarm.consume", Vars>({
		name: "alarm.consume",
		mixins: [routing(config), jetstream(config, "consume"), admission(config)],
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
			this.delays = { realtime: newRecord(Date.now()), bulk: newRecord(Date.now()) };
			showDelays(this.metrics, (lane) => this.delays[lane].total);
			this.workers = LANES.map((lane) => workerOf(this, config, lane));
			for (const worker of this.workers) worker.start();
			this.watermarkTimer = setInterval(() => void publishWatermark(this), WATERMARK_MS).unref();
		},
		async stopped() {
			clearInterval(this.watermarkTimer);
			await Promise.all((this.workers ?? []).map((worker) => worker.stop()));
		},
	});
}

function workerOf(service: Service & Vars, config: Config, lane: Lane): LaneWorker {
	return new LaneWorker(service.streams, (deliveries) => storeRound(service, lane, deliveries), {
		lane,
		prefetch: config.workerPrefetch,
		prepare: async () => ensureLane(await service.streams.manager(), lane, laneSize(config)),
		workingMs: config.ackWaitMs / 3,
		onError: (error) => service.logger.error(`the ${lane} worker: ${error instanceof Error ? error.stack : error}`),
	});
}

/** Stores the items of many batches together, then writes the ledger of those that are wholly safe. */
async function storeRound(service: Vars & Service, lane: Lane, deliveries: Delivery[]): Promise<boolean[]> {
	const nowMs = Date.now();
	const items = deliveries.map(({ payload }) => decodeBatch(payload));
	const batches = deliveries.map((delivery, at) =>
		(items[at] ?? []).map((item, index) => triage(item, nowMs, { ...delivery, lane, index })),
	);
	const { clusters, routing } = service;
	const onError = (error: unknown) => service.logger.error(`the ${lane} worker: ${error}`);
	const outcomes = await takeIn({ clusters, routing, lane, nowMs: Date.now, onError }, batches.flat());
	countOutcomes(service, lane, items.flat(), outcomes);
	const ofBatch = cut(outcomes, batches);
	const safe = ofBatch.map((some) => some.every((outcome) => outcome.safe));
	const rows = deliveries.map((delivery, at) => ledgerRow(lane, delivery, batches[at] ?? [], ofBatch[at] ?? []));
	const safeRows = rows.filter((_, at) => safe[at]);
	if (safeRows.length > 0) await writeLedger(clusters, routing.current, safeRows, nowMs);
	reportUnsafe(service, lane, outcomes);
	return safe;
}

/**
 * Counts what became of each, and how long it took those that got their slot in this round. One whose slot was taken was counted in the
 * round that took it.
 */
function countOutcomes({ metrics, delays }: Vars, lane: Lane, items: Decoded[], outcomes: Outcome[]): void {
	const nowMs = Date.now();
	const counts = { stored: 0, taken: 0, failed: 0 };
	const round = noDelays(nowMs);
	for (const [at, outcome] of outcomes.entries()) {
		if (!outcome.safe) continue;
		counts[outcome.as]++;
		const item = items[at];
		if (outcome.as !== "taken" && item !== undefined && "queued" in item)
			addDelay(round, nowMs - item.queued.acceptedAtMs);
	}
	recordDelays(delays[lane], round, nowMs);
	for (const [outcome, count] of Object.entries(counts)) metrics.stored(lane, outcome, count);
}

function cut(outcomes: Outcome[], batches: Decision[][]): Outcome[][] {
	let at = 0;
	return batches.map((batch) => {
		at += batch.length;
		return outcomes.slice(at - batch.length, at);
	});
}

function ledgerRow(
	lane: Lane,
	{ epoch, number, streamTimeMs }: Delivery,
	batch: Decision[],
	outcomes: Outcome[],
): LedgerRow {
	const counts = { stored: 0, taken: 0, failed: 0 };
	for (const outcome of outcomes) if (outcome.safe) counts[outcome.as]++;
	return { epoch, number, lane, ids: batch.map(({ id }) => id), counts, publishedAtMs: streamTimeMs };
}

function reportUnsafe(service: Service, lane: Lane, outcomes: Outcome[]): void {
	const unsafe = outcomes.filter((outcome) => !outcome.safe);
	const [first] = unsafe;
	if (first !== undefined)
		service.logger.warn(`${lane}: ${unsafe.length} of ${outcomes.length} alarms come again, because ${first.why}`);
}

async function publishWatermark({ clusters, streams, logger }: Service & Vars): Promise<void> {
	if (streams.jetstream === null) return;
	try {
		const askedMs = Date.now();
		const manager = await streams.manager();
		const backlogs = await Promise.all(LANES.map((lane) => backlogOf(manager, lane)));
		await publishLowWatermark(clusters, lowWatermark(backlogs, askedMs));
	} catch (error) {
		logger.debug(`the low-watermark was not published: ${error}`);
	}
}
