import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { LANES, type Lane } from "../contracts/alarm.ts";
import { decodeBatch } from "../domain/batch.ts";
import { lowWatermark } from "../domain/low-watermark.ts";
import { type Decision, triage } from "../domain/triage.ts";
import { defineService } from "../lib/service.ts";
import { type HasStreams, jetstream } from "../mixins/jetstream.mixin.ts";
import { type HasRouting, routing } from "../mixins/routing.mixin.ts";
import { type Outcome, takeIn } from "../stores/intake.ts";
import { type LedgerRow, writeLedger } from "../stores/ledger.ts";
import { publishLowWatermark } from "../stores/low-watermark.ts";
import { oldestIn, outboxes } from "../stores/outbox.ts";
import { backlogOf } from "../streams/backlog.ts";
import { ensureLane, laneSize } from "../streams/lanes.ts";
import { type Delivery, LaneWorker } from "../streams/worker.ts";

interface Vars extends HasRouting, HasStreams {
	workers: LaneWorker[];
	watermarkTimer: NodeJS.Timeout;
}

const WATERMARK_MS = 1_000;

/** Stores what was accepted: many batches at a time, one slot per id, acked after everything is safe. */
export default function alarmConsume(config: Config): ServiceSchema {
	return defineService<"alarm.consume", Vars>({
		name: "alarm.consume",
		mixins: [routing(config), jetstream(config, "consume")],
		actions: {},
		async started() {
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
async function storeRound(service: HasRouting & Service, lane: Lane, deliveries: Delivery[]): Promise<boolean[]> {
	const nowMs = Date.now();
	const batches = deliveries.map((delivery) =>
		decodeBatch(delivery.payload).map((item, index) => triage(item, nowMs, { ...delivery, lane, index })),
	);
	const { clusters, routing } = service;
	const onError = (error: unknown) => service.logger.error(`the ${lane} worker: ${error}`);
	const outcomes = await takeIn({ clusters, routing, lane, nowMs: Date.now, onError }, batches.flat());
	const ofBatch = cut(outcomes, batches);
	const safe = ofBatch.map((some) => some.every((outcome) => outcome.safe));
	const rows = deliveries.map((delivery, at) => ledgerRow(lane, delivery, batches[at] ?? [], ofBatch[at] ?? []));
	const safeRows = rows.filter((_, at) => safe[at]);
	if (safeRows.length > 0) await writeLedger(clusters, routing.current, safeRows, nowMs);
	reportUnsafe(service, lane, outcomes);
	return safe;
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

async function publishWatermark({ clusters, routing, streams, logger }: Service & Vars): Promise<void> {
	if (streams.jetstream === null) return;
	try {
		const askedMs = Date.now();
		// Outboxes first: what is relayed in between is then found in the streams. One that does not answer holds the watermark.
		const saved = await Promise.all(outboxes(clusters, routing.current).map((target) => oldestIn(clusters, target)));
		const manager = await streams.manager();
		const queued = await Promise.all(LANES.map((lane) => backlogOf(manager, lane)));
		const backlogs = [...queued, ...saved.map((oldestMs) => ({ oldestMs }))];
		await publishLowWatermark(clusters, lowWatermark(backlogs, askedMs));
	} catch (error) {
		logger.debug(`the low-watermark was not published: ${error}`);
	}
}
