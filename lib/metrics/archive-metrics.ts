import type { RunState } from "../../contracts/archive.ts";
import type { Tier } from "../../contracts/routing.ts";
import type { Metrics, Sample } from "./metrics.ts";

/** What the archive looks like when Prometheus asks. A record of runs that does not answer has no samples. */
interface ArchiveView {
	runs: () => Promise<Record<RunState, number>>;
	/** Since when the longest waiting run makes no progress; null: none waits. */
	waitingSinceMs: () => Promise<number | null>;
	tiers: () => Record<Tier, number>;
	nowMs: () => number;
}

export function showArchive(metrics: Metrics, view: ArchiveView): void {
	const gauge = (name: string, help: string, read: () => Promise<Sample[]> | Sample[]) =>
		metrics.onScrape({ name, help, type: "gauge" }, read);
	gauge("alarm_archive_runs", "Runs of the archive mover on record, by state.", async () =>
		samples("state", await view.runs()),
	);
	gauge("alarm_archive_waiting_seconds", "How long the longest waiting run makes no progress.", async () => {
		const sinceMs = await view.waitingSinceMs();
		return [{ labels: {}, value: sinceMs === null ? 0 : Math.max(view.nowMs() - sinceMs, 0) / 1_000 }];
	});
	gauge("alarm_archive_months", "Months of shards, by tier.", () => samples("tier", view.tiers()));
}

function samples(label: string, counts: Record<string, number>): Sample[] {
	return Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
}
