import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { LANES, type Lane } from "../contracts/alarm.ts";
import type { LaneHolds, Pending } from "../domain/time/lag.ts";
import { metricsOf } from "../lib/metrics/metrics.ts";
import { showPending } from "../lib/metrics/pending-metrics.ts";
import { answerWithin } from "../lib/timeout.ts";
import { outboxDepth } from "../stores/alarms/outbox-depth.ts";
import type { Clusters } from "../stores/mongo/clusters.ts";
import { readLowWatermark } from "../stores/routing/low-watermark.ts";
import { backlogOf } from "../streams/backlog.ts";
import { StreamConnection } from "../streams/connection.ts";
import { shareClusters } from "./clusters.ts";

export interface HasPending {
	/** What waits, not older than a second. Answers within about a second, with gaps where a part is silent. */
	pending: () => Promise<Pending>;
}

interface Vars extends HasPending {
	view: StreamConnection;
	releasePending: () => Promise<void>;
}

const PART_MS = 1_000;
/** Whoever asks more often, by `/metrics` or by the action, gets the same answer: asking costs the databases and the queue. */
const FRESH_MS = 1_000;

/** A view of queue and outboxes that only reads: neither the start nor readiness depends on it, or an outage could not be looked at. */
export function pending(config: Config): Partial<ServiceSchema> {
	return {
		async started(this: Service & Vars) {
			const clusters = shareClusters(this, config);
			this.view = new StreamConnection({
				natsUrl: config.natsUrl,
				purpose: "ops",
				// Whatever its settings are: those who put alarms there refuse a wrong one.
				inspect: () => Promise.resolve({ is: "sound" }),
				onWrong: () => undefined,
				onError: (error) => this.logger.warn(`JetStream (ops): ${error}`),
			});
			this.pending = remembered(() => readPending(this.view, clusters.value));
			this.releasePending = clusters.release;
			showPending(metricsOf(this.broker), this.pending);
		},
		async stopped(this: Service & Vars) {
			await this.view?.close();
			await this.releasePending?.();
		},
	} as unknown as Partial<ServiceSchema>;
}

/** One question at a time, and its answer for a moment. */
function remembered(read: () => Promise<Pending>): () => Promise<Pending> {
	let last: { atMs: number; answer: Promise<Pending> } | null = null;
	return () => {
		const nowMs = performance.now();
		if (last === null || nowMs - last.atMs > FRESH_MS) last = { atMs: nowMs, answer: read() };
		return last.answer;
	};
}

async function readPending(view: StreamConnection, clusters: Clusters): Promise<Pending> {
	const atMs = Date.now();
	const [lanes, outbox, watermark] = await Promise.all([
		// Without a connection the question would wait for one.
		view.trouble === null ? answerWithin(PART_MS, readLanes(view)) : null,
		Promise.all(
			[...clusters.service.values()].map(async (cluster) => ({
				cluster: cluster.name,
				holds: await answerWithin(PART_MS, outboxDepth(cluster)),
			})),
		),
		answerWithin(
			PART_MS,
			readLowWatermark(clusters).then((foundMs) => ({ atMs: foundMs })),
		),
	]);
	return { atMs, lanes, outbox, lowWatermark: watermark };
}

async function readLanes(view: StreamConnection): Promise<Record<Lane, LaneHolds>> {
	const manager = await view.manager();
	const holds = await Promise.all(
		LANES.map(async (lane) => {
			return [lane, await backlogOf(manager, lane)];
		}),
	);
	return Object.fromEntries(holds) as Record<Lane, LaneHolds>;
}
