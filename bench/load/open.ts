import { quantile } from "../stats.ts";
import { atRate, LinePool } from "./latency.ts";

/** An open loop of requests at a fixed rate. What cannot be sent because too much waits already is dropped and counted. */
export interface OpenLoad {
	kind: "open";
	port: number;
	perS: number;
	warmMs: number;
	durationMs: number;
	requests: string;
	lines: number;
}

export interface OpenResult {
	offered: number;
	dropped: number;
	/** Answers by status. */
	statuses: Record<string, number>;
	/** From when a request was due to its answer: waiting counts. */
	p50Ms: number;
	p99Ms: number;
	answeredPerS: number;
}

const MOST_QUEUED = 10_000;

export async function runOpen(
	{ port, perS, warmMs, durationMs, lines }: OpenLoad,
	requests: Buffer[],
): Promise<OpenResult> {
	const pool = new LinePool(port, lines);
	const timesMs: number[] = [];
	const statuses: Record<string, number> = {};
	const asked: Promise<void>[] = [];
	const warmUntilMs = performance.now() + warmMs;
	const endMs = warmUntilMs + durationMs;
	let offered = 0;
	let dropped = 0;
	const begin = async (at: number, dueMs: number) => {
		const { status } = await pool.ask(requests[at % requests.length] ?? Buffer.alloc(0));
		const nowMs = performance.now();
		if (dueMs < warmUntilMs || nowMs > endMs) return;
		timesMs.push(nowMs - dueMs);
		statuses[status] = (statuses[status] ?? 0) + 1;
	};
	await atRate({ perS, durationMs: warmMs + durationMs }, (at, dueMs) => {
		if (dueMs >= warmUntilMs) offered++;
		if (pool.queued >= MOST_QUEUED) dropped++;
		else asked.push(begin(at, dueMs));
	});
	pool.close();
	const answeredPerS = (timesMs.length * 1_000) / durationMs;
	return { offered, dropped, statuses, p50Ms: quantile(timesMs, 0.5), p99Ms: quantile(timesMs, 0.99), answeredPerS };
}
