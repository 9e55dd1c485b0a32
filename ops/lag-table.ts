import type { Lag, OutboxLag } from "../contracts/lag.ts";
import { aligned } from "./table.ts";

/** The lag as an operator reads it on a console. */
export function lagTable(lag: Lag): string {
	const rows = Object.entries(lag.lanes).map(([lane, { batches, parkedBatches, oldestAgeMs, delay }]) => [
		lane,
		shown(batches),
		shown(parkedBatches),
		duration(oldestAgeMs),
		String(delay.count),
		...[delay.p50Ms, delay.p99Ms, delay.maxMs].map(duration),
	]);
	return [
		...aligned([HEADS, ...rows]),
		"",
		...lag.parked.map(parkedLine),
		...lag.outbox.map(outboxLine),
		...footer(lag),
	].join("\n");
}

const HEADS = ["lane", "waiting", "parked", "oldest", "stored", "p50", "p99", "longest"];

function parkedLine({ lane, shard, batches }: Lag["parked"][number]): string {
	return `parked: ${batches} batches of the ${lane} lane for shard ${shard}`;
}

function outboxLine(outbox: OutboxLag): string {
	if ("unavailable" in outbox) return `outbox ${outbox.cluster}: does not answer`;
	const oldest = outbox.oldestAgeMs === null ? "" : `, the oldest ${duration(outbox.oldestAgeMs)} old`;
	return `outbox ${outbox.cluster}: ${outbox.batches} batches, ${outbox.bytes} bytes${oldest}`;
}

function footer({ at, lanes, oldestPendingAgeMs, lowWatermark, workers, unavailable }: Lag): string[] {
	const since =
		lanes.realtime.delay.since < lanes.bulk.delay.since ? lanes.realtime.delay.since : lanes.bulk.delay.since;
	return [
		`oldest on its way: ${duration(oldestPendingAgeMs)}; low-watermark: ${shown(lowWatermark)}; now: ${at}`,
		`delays since ${since} of workers: ${workers.join(", ") || "none"}`,
		...(unavailable.length === 0 ? [] : [`DOES NOT ANSWER: ${unavailable.join(", ")}`]),
	];
}

function shown(value: string | number | null): string {
	return value === null ? "?" : String(value);
}

function duration(ms: number | null): string {
	if (ms === null) return "-";
	return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
