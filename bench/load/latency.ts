import { quantile } from "../stats.ts";
import { encodeRequest, Line, type Reply } from "./line.ts";

/** An open loop: creations at a fixed rate, whatever becomes of the earlier ones; some are then read until they are there. */
export interface LatencyLoad {
	kind: "latency";
	createPort: number;
	readPort: number;
	perS: number;
	durationMs: number;
	/** A file of alarms to create, each with the token of its customer; the first in so many is followed until it is readable. */
	alarms: string;
	auth: string;
	followEvery: number;
	/** Between two looks: each costs the service a read, and many followers that look all the time are a load of their own. */
	lookMs: number;
}

export interface Followed {
	userId: string;
	token: string;
	alarm: unknown;
}

export interface LatencyResult {
	created: number;
	failed: number;
	followed: number;
	/** From the 202 to the first read that finds it. */
	readableP50Ms: number;
	readableP99Ms: number;
	/** From when the creation was due to its 202. */
	acceptedP50Ms: number;
	acceptedP99Ms: number;
}

const LINES = 64;
const STEP_MS = 1;
const LIMIT_MS = 15_000;

export async function runLatency(load: LatencyLoad, alarms: Followed[]): Promise<LatencyResult> {
	const create = new LinePool(load.createPort);
	const read = new LinePool(load.readPort);
	const acceptedMs: number[] = [];
	const readableMs: number[] = [];
	const following: Promise<void>[] = [];
	let failed = 0;
	const begin = async (at: number, dueMs: number) => {
		const one = alarms[at % alarms.length];
		if (one === undefined) return;
		const reply = await create.ask(
			encodeRequest({ method: "POST", path: "/v1/alarms", auth: load.auth, body: one.alarm }),
		);
		const nowMs = performance.now();
		if (reply.status !== 202) failed++;
		else acceptedMs.push(nowMs - dueMs);
		if (reply.status !== 202 || at % load.followEvery !== 0) return;
		readableMs.push(await untilReadable(read, one, idOf(reply), nowMs, load.lookMs));
	};
	await atRate(load, (at, dueMs) => following.push(begin(at, dueMs)));
	await Promise.all(following);
	create.close();
	read.close();
	return {
		created: acceptedMs.length,
		failed,
		followed: readableMs.length,
		readableP50Ms: quantile(readableMs, 0.5),
		readableP99Ms: quantile(readableMs, 0.99),
		acceptedP50Ms: quantile(acceptedMs, 0.5),
		acceptedP99Ms: quantile(acceptedMs, 0.99),
	};
}

/** Calls `deed` for every moment that is due; what is late is made up for at once, never left out. */
export async function atRate(
	{ perS, durationMs }: { perS: number; durationMs: number },
	work: (at: number, dueMs: number) => void,
): Promise<void> {
	const startMs = performance.now();
	const count = Math.floor((perS * durationMs) / 1_000);
	for (let at = 0; at < count; ) {
		const dueCount = Math.min(Math.floor(((performance.now() - startMs) * perS) / 1_000) + 1, count);
		for (; at < dueCount; at++) work(at, startMs + (at * 1_000) / perS);
		await pause(STEP_MS);
	}
}

async function untilReadable(
	read: LinePool,
	{ userId, token }: Followed,
	id: string,
	sinceMs: number,
	lookMs: number,
): Promise<number> {
	const request = encodeRequest({ method: "GET", path: `/v1/users/${userId}/alarms/${id}`, auth: token });
	for (;;) {
		const { status } = await read.ask(request);
		const passedMs = performance.now() - sinceMs;
		if (status === 200) return passedMs;
		if (passedMs > LIMIT_MS)
			throw new Error(`${id} cannot be read ${LIMIT_MS / 1_000} s after it was accepted (${status})`);
		await pause(lookMs);
	}
}

function idOf(reply: Reply): string {
	const id = /"id":"([\w-]+)"/.exec(reply.body())?.[1];
	if (id === undefined) throw new Error(`no id in ${reply.body().slice(0, 200)}`);
	return id;
}

function pause(timeMs: number): Promise<void> {
	return new Promise((resolve) => {
		setTimeout(resolve, timeMs);
	});
}

/** Some keep-alive connections; a request waits for a free one. */
export class LinePool {
	readonly #port: number;
	readonly #free: Line[];
	readonly #all: Line[];
	readonly #waiting: ((line: Line) => void)[] = [];

	constructor(port: number, lines = LINES) {
		this.#port = port;
		this.#all = Array.from({ length: lines }, () => new Line(port));
		this.#free = [...this.#all];
	}

	/** Requests that wait for a connection. */
	get queued(): number {
		return this.#waiting.length;
	}

	ask(request: Buffer): Promise<Reply> {
		return new Promise((resolve) => {
			const send = (line: Line) =>
				line.send(request, (reply) => {
					resolve(reply);
					this.#release(line);
				});
			// Turn about, so that none is idle until the server closes it.
			const line = this.#free.shift();
			if (line === undefined) this.#waiting.push(send);
			else send(this.#living(line));
		});
	}

	close(): void {
		for (const line of this.#all) line.close();
	}

	#release(line: Line): void {
		const next = this.#waiting.shift();
		if (next === undefined) this.#free.push(line);
		else next(this.#living(line));
	}

	/** The line, or a new one in its place. */
	#living(line: Line): Line {
		if (!line.isClosed) return line;
		const other = new Line(this.#port);
		this.#all[this.#all.indexOf(line)] = other;
		return other;
	}
}
