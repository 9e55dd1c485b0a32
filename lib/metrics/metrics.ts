import type { ServiceBroker } from "moleculer";
import { Counter, collectDefaultMetrics, type Metric, Registry } from "prom-client";
import type { Lane } from "../../contracts/alarm.ts";
import type { ErrorCode } from "../../contracts/errors.ts";

/**
 * What Prometheus is told, per broker. Not Moleculer's own metrics: switched on, they wrap every action and cost 4 us a call, of
 * which a creation makes two. Names and thresholds are in docs/monitoring.md.
 */

/** One line of a metric that is read when Prometheus asks. */
export interface Sample {
	labels: Record<string, string | number>;
	value: number;
	/** The series, where it is not the metric itself: `…_bucket`, `…_sum`, `…_count`. */
	metricName?: string;
}

interface Described {
	name: string;
	help: string;
	type: "gauge" | "histogram";
}

export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

const ofBroker = new WeakMap<ServiceBroker, Metrics>();

/** The metrics of this broker, made at first use. */
export function metricsOf(broker: ServiceBroker): Metrics {
	const metrics = ofBroker.get(broker) ?? new Metrics();
	ofBroker.set(broker, metrics);
	return metrics;
}

export class Metrics {
	readonly #registry = new Registry();
	readonly #accepted: Counter<"lane" | "via">;
	readonly #rejected: Counter<"lane" | "code">;
	readonly #stored: Counter<"lane" | "outcome">;
	#moved: Counter | null = null;

	constructor() {
		// The event loop is watched from here on.
		processMetrics();
		const registers = [this.#registry];
		this.#accepted = new Counter({
			name: "alarm_accepted_total",
			help: "Alarms answered with 202, by lane and by the way they were made safe.",
			labelNames: ["lane", "via"],
			registers,
		});
		this.#rejected = new Counter({
			name: "alarm_rejected_total",
			help: "Alarms not accepted, or not known to be, by the error's code.",
			labelNames: ["lane", "code"],
			registers,
		});
		this.#stored = new Counter({
			name: "alarm_stored_total",
			help: "Alarms that a worker has made safe, by what their slot says.",
			labelNames: ["lane", "outcome"],
			registers,
		});
	}

	accepted(lane: Lane, via: "queue" | "outbox", count = 1): void {
		if (count > 0) this.#accepted.inc({ lane, via }, count);
	}

	rejected(lane: Lane, code: ErrorCode, count = 1): void {
		this.#rejected.inc({ lane, code }, count);
	}

	stored(lane: Lane, outcome: string, count: number): void {
		if (count > 0) this.#stored.inc({ lane, outcome }, count);
	}

	moved(rows: number): void {
		this.#moved ??= this.#counterOfMoved();
		this.#moved.inc(rows);
	}

	/** Without labels it would stand at 0 in every process: only a mover has it. */
	#counterOfMoved(): Counter {
		return new Counter({
			name: "alarm_archive_rows_total",
			help: "Rows that this mover has gone through while it archived months.",
			registers: [this.#registry],
		});
	}

	/** A metric that `read` gives when Prometheus asks; one that fails is left out of that answer. A later one of the same name takes its place. */
	onScrape(described: Described, read: () => Promise<Sample[]> | Sample[]): void {
		const get = async () => ({ ...described, values: await readQuietly(read) });
		this.#registry.removeSingleMetric(described.name);
		this.#registry.registerMetric({ ...described, get } as unknown as Metric);
	}

	/** In Prometheus' text format, with those of the process. */
	async text(): Promise<string> {
		const [own, process] = await Promise.all([this.#registry.metrics(), processMetrics().metrics()]);
		return `${own}\n${process}`;
	}
}

async function readQuietly(read: () => Promise<Sample[]> | Sample[]): Promise<Sample[]> {
	try {
		return await read();
	} catch {
		return [];
	}
}

let ofProcess: Registry | null = null;

/** Event loop, heap, garbage collection, file handles. Of the process, so there is one for all its brokers; it watches until the end. */
function processMetrics(): Registry {
	if (ofProcess !== null) return ofProcess;
	ofProcess = new Registry();
	collectDefaultMetrics({ register: ofProcess });
	ofProcess.registerMetric(utilization());
	return ofProcess;
}

/** The share of time that the event loop was busy since the last scrape: 1 is a process that cannot take more. */
function utilization(): Metric {
	const described = { name: "nodejs_eventloop_utilization", help: "Busy share since the last scrape.", type: "gauge" };
	let last = performance.eventLoopUtilization();
	const get = async () => {
		const now = performance.eventLoopUtilization();
		const { utilization: value } = performance.eventLoopUtilization(now, last);
		last = now;
		return { ...described, values: [{ labels: {}, value }] };
	};
	return { ...described, get } as unknown as Metric;
}
