import { LANES } from "../../contracts/alarm.ts";
import {
	type LaneHolds,
	oldestPendingAgeMs,
	type Pending,
	unavailableParts,
	waitingIn,
} from "../../domain/time/lag.ts";
import type { Metrics, Sample } from "./metrics.ts";

/** Shows what waits in the whole system. A part that did not answer has no sample: an old number would look like a quiet system. */
export function showPending(metrics: Metrics, read: () => Promise<Pending>): void {
	const gauge = (name: string, help: string, samples: (pending: Pending) => Sample[]) =>
		metrics.onScrape({ name, help, type: "gauge" }, async () => samples(await read()));
	gauge("alarm_oldest_pending_seconds", "Age of the oldest alarm on its way.", (pending) =>
		seconds(oldestPendingAgeMs(pending)),
	);
	gauge("alarm_low_watermark_seconds", "How far the low-watermark is behind.", watermarkAge);
	gauge("alarm_queue_batches", "Batches that wait for a worker.", queueBatches);
	gauge("alarm_parked_batches", "Batches whose shard cannot take them now.", parkedBatches);
	gauge("alarm_outbox_batches", "Accepted batches that wait for the queue.", (pending) => outbox(pending, "batches"));
	gauge("alarm_outbox_bytes", "Bytes of accepted batches that wait for the queue.", (pending) =>
		outbox(pending, "bytes"),
	);
	gauge("alarm_unavailable_parts", "1 for each part that did not answer this scrape.", unavailable);
}

function seconds(ms: number | null): Sample[] {
	return ms === null ? [] : [{ labels: {}, value: ms / 1_000 }];
}

function watermarkAge({ atMs, lowWatermark }: Pending): Sample[] {
	const watermarkMs = lowWatermark?.atMs ?? null;
	return seconds(watermarkMs === null ? null : atMs - watermarkMs);
}

function queueBatches({ lanes }: Pending): Sample[] {
	if (lanes === null) return [];
	return LANES.map((lane) => ({ labels: { lane }, value: waitingIn(lanes[lane]) }));
}

function parkedBatches({ lanes }: Pending): Sample[] {
	const parkedOf = ({ parked }: LaneHolds, lane: string) =>
		[...parked].map(([shard, value]) => ({ labels: { lane, shard }, value }));
	return lanes === null ? [] : LANES.flatMap((lane) => parkedOf(lanes[lane], lane));
}

function outbox(pending: Pending, what: "batches" | "bytes"): Sample[] {
	return pending.outbox.flatMap(({ cluster, holds }) =>
		holds === null ? [] : [{ labels: { cluster }, value: holds[what] }],
	);
}

function unavailable(pending: Pending): Sample[] {
	return unavailableParts(pending).map((part) => ({ labels: { part }, value: 1 }));
}
