import { LANES, type Lane } from "../../contracts/alarm.ts";
import type { DelayCounts } from "../../contracts/lag.ts";
import { countOf, DELAY_BOUNDS_MS } from "../../domain/time/delay-histogram.ts";
import type { Metrics, Sample } from "./metrics.ts";

const NAME = "alarm_delay_seconds";

/** Shows delays that were counted elsewhere as a histogram of Prometheus: counting there costs 30 ns an alarm, one by one here it would cost 300. */
export function showDelays(metrics: Metrics, of: (lane: Lane) => DelayCounts): void {
	const help = "Seconds from an alarm's acceptance to its slot.";
	metrics.onScrape({ name: NAME, help, type: "histogram" }, () => LANES.flatMap((lane) => samplesOf(lane, of(lane))));
}

/** Buckets of Prometheus hold everything up to their bound. */
function samplesOf(lane: Lane, delays: DelayCounts): Sample[] {
	let below = 0;
	const buckets = delays.counts.map((count, at) => {
		below += count;
		const le = at < DELAY_BOUNDS_MS.length ? (DELAY_BOUNDS_MS[at] ?? 0) / 1_000 : "+Inf";
		return { labels: { lane, le }, value: below, metricName: `${NAME}_bucket` };
	});
	return [
		...buckets,
		{ labels: { lane }, value: delays.sumMs / 1_000, metricName: `${NAME}_sum` },
		{ labels: { lane }, value: countOf(delays), metricName: `${NAME}_count` },
	];
}
