import { quantile } from "../stats.ts";
import { Line, type Reply } from "./line.ts";

/** A closed loop: each connection sends its next request when it has the answer to its last. */
export interface ClosedLoad {
	kind: "closed";
	port: number;
	connections: number;
	/** Not counted. */
	warmMs: number;
	durationMs: number;
	/** A file of requests, taken in turn. */
	requests: string;
	expect: number;
}

export interface LoadResult {
	perS: number;
	p50Ms: number;
	p99Ms: number;
	/** Answers with another status, and the first such. */
	failed: number;
	firstFailure: string;
	/** Of one core, used by the generator itself. */
	ownCpu: number;
}

/** Runs a closed loop. @throws when nothing was answered as expected. */
export async function runClosed(load: ClosedLoad, requests: Buffer[]): Promise<LoadResult> {
	const counter = new Counter(load.expect);
	const lines = Array.from({ length: load.connections }, () => new Line(load.port));
	let next = 0;
	let isOver = false;
	const turn = (line: Line) => {
		const sentMs = performance.now();
		line.send(requests[next++ % requests.length] ?? Buffer.alloc(0), (reply) => {
			counter.add(reply, performance.now() - sentMs);
			if (reply.status !== 0 && !isOver) turn(line);
		});
	};
	for (const line of lines) turn(line);
	await pause(load.warmMs);
	counter.restart();
	await pause(load.durationMs);
	const result = counter.result();
	isOver = true;
	for (const line of lines) line.close();
	return result;
}

function pause(timeMs: number): Promise<void> {
	return new Promise((resolve) => {
		setTimeout(resolve, timeMs);
	});
}

/** Counts answers and keeps their times. */
export class Counter {
	readonly #expect: number;
	#timesMs: number[] = [];
	#failed = 0;
	#firstFailure = "";
	#sinceMs = performance.now();
	#cpu = process.cpuUsage();

	constructor(expect: number) {
		this.#expect = expect;
	}

	add(reply: Reply, timeMs: number): void {
		if (reply.status === this.#expect) {
			this.#timesMs.push(timeMs);
			return;
		}
		if (this.#failed++ === 0) this.#firstFailure = `${reply.status} ${reply.body().slice(0, 300)}`;
	}

	restart(): void {
		this.#timesMs = [];
		this.#sinceMs = performance.now();
		this.#cpu = process.cpuUsage();
	}

	result(): LoadResult {
		const passedMs = performance.now() - this.#sinceMs;
		const { user, system } = process.cpuUsage(this.#cpu);
		return {
			perS: (this.#timesMs.length * 1_000) / passedMs,
			p50Ms: quantile(this.#timesMs, 0.5),
			p99Ms: quantile(this.#timesMs, 0.99),
			failed: this.#failed,
			firstFailure: this.#firstFailure,
			ownCpu: (user + system) / 1_000 / passedMs,
		};
	}
}
