import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { answer, ready } from "../answering.ts";
import { sampleAlarm } from "../sample.ts";
import { quantile } from "../stats.ts";
import {
	type BusyCustomer,
	type BusyEnd,
	type BusyPlan,
	type BusyQuestion,
	type BusyWindow,
	noPauses,
	type Pause,
} from "./busy-plan.ts";
import { atRate, LinePool } from "./latency.ts";
import { encodeRequest, type Reply } from "./line.ts";

// An app in use, in a process of its own: creations, inbox pages and marks at steady rates, for as long as it is asked to. It remembers
// what it was told, so that nothing that was promised can be lost unnoticed, and how long the writers of each shard had to wait.

const PAGE_LINES = 64;
const MARK_LINES = 64;
const AGAIN_MS = 20;
const LOOK_MS = 50;
const FOLLOW_EVERY_MS = 250;
const MOST_FOLLOWED = 3;
const LIMIT_MS = 60_000;
const SLICE_MS = 1_000;
const MOST_FAILED = 20;

class Busy {
	readonly #plan: BusyPlan;
	readonly #customers: BusyCustomer[];
	readonly #create: LinePool;
	readonly #read: LinePool;
	readonly #mark: LinePool;
	readonly #follow: LinePool;
	readonly #salt = `busy-${Date.now()}`;
	readonly #inHand = new Set<Promise<void>>();
	readonly #ids: string[] = [];
	readonly #marks = new Map<string, boolean>();
	readonly #marking = new Set<string>();
	#pauses: Pause[];
	readonly #followed: { count: number; nextMs: number }[];
	readonly #failed: string[] = [];
	readonly #running: Promise<unknown>;
	#pageTimes: { shard: number; ms: number }[] = [];
	#refused = 0;
	#isOver = false;

	constructor(plan: BusyPlan) {
		this.#plan = plan;
		this.#customers = JSON.parse(readFileSync(plan.customers, "utf8")) as BusyCustomer[];
		this.#create = new LinePool(plan.createPort);
		this.#read = new LinePool(plan.queryPort, PAGE_LINES);
		this.#mark = new LinePool(plan.queryPort, MARK_LINES);
		this.#follow = new LinePool(plan.queryPort, PAGE_LINES);
		this.#pauses = noPauses(plan.shards);
		this.#followed = this.#pauses.map(() => ({ count: 0, nextMs: 0 }));
		this.#running = Promise.all([
			this.#keepOn(plan.creationsPerS, (at) => this.#createOne(at)),
			this.#keepOn(plan.pagesPerS, (at, dueMs) => this.#readOne(at, dueMs)),
			this.#keepOn(plan.marksPerS, (at, dueMs) => this.#markOne(at, dueMs)),
		]);
	}

	window(without?: number): BusyWindow {
		const times = this.#pageTimes.filter(({ shard }) => shard !== without).map(({ ms }) => ms);
		const pauses = this.#pauses;
		this.#pageTimes = [];
		this.#pauses = noPauses(this.#plan.shards);
		return {
			pages: times.length,
			p50Ms: quantile(times, 0.5),
			p99Ms: quantile(times, 0.99),
			accepted: this.#ids.length,
			refused: this.#refused,
			failed: this.#failed,
			pauses,
		};
	}

	async end(): Promise<BusyEnd> {
		this.#isOver = true;
		await this.#running;
		await Promise.all(this.#inHand);
		for (const pool of [this.#create, this.#read, this.#mark, this.#follow]) pool.close();
		return { ...this.window(), ids: this.#ids, marks: [...this.#marks] };
	}

	/** An open loop, a slice of time after the other. */
	async #keepOn(perS: number, work: (at: number, dueMs: number) => Promise<void>): Promise<void> {
		for (let done = 0; !this.#isOver; ) {
			const before = done;
			await atRate({ perS, durationMs: SLICE_MS }, (at, dueMs) => {
				done = before + at + 1;
				const own = work(before + at, dueMs).finally(() => this.#inHand.delete(own));
				this.#inHand.add(own);
			});
		}
	}

	#customer(at: number): BusyCustomer {
		// A prime step: neighbours in time are no neighbours in the file, which is in the order of shards.
		return this.#customers[(at * 7_919) % this.#customers.length] as BusyCustomer;
	}

	async #createOne(at: number): Promise<void> {
		const customer = this.#customer(at);
		const { lane: _lane, ...alarm } = sampleAlarm(at);
		const body = { ...alarm, userId: customer.userId, idempotencyKey: `${this.#salt}-${at}` };
		const reply = await this.#create.ask(
			encodeRequest({ method: "POST", path: "/v1/alarms", auth: this.#plan.producerKey, body }),
		);
		const id = reply.status === 202 ? /"id":"([\w-]+)"/.exec(reply.body())?.[1] : undefined;
		if (id !== undefined) {
			this.#ids.push(id);
			return this.#followIfTurn(customer, id);
		}
		this.#refused++;
		this.#fail(`creation ${answerOf(reply)}`);
	}

	#fail(what: string): void {
		if (this.#failed.length < MOST_FAILED) this.#failed.push(what);
	}

	/** A few of each shard: everybody who looks is a load of its own. */
	async #followIfTurn({ userId, token, shard }: BusyCustomer, id: string): Promise<void> {
		const turn = this.#followed[shard];
		const startMs = performance.now();
		if (turn === undefined || turn.count >= MOST_FOLLOWED || startMs < turn.nextMs) return;
		turn.count++;
		turn.nextMs = startMs + FOLLOW_EVERY_MS;
		const request = encodeRequest({ method: "GET", path: `/v1/users/${userId}/alarms/${id}`, auth: token });
		for (let isThere = false; !isThere; await sleep(LOOK_MS)) {
			isThere = (await this.#follow.ask(request)).status === 200;
			const passedMs = performance.now() - startMs;
			this.#waited(shard, { readableMs: passedMs });
			if (passedMs > LIMIT_MS) {
				this.#fail(`${id} could not be read within ${LIMIT_MS / 1_000} s`);
				break;
			}
		}
		turn.count--;
	}

	async #readOne(at: number, dueMs: number): Promise<void> {
		const { userId, token, shard } = this.#customer(at);
		const reply = await this.#read.ask(
			encodeRequest({ method: "GET", path: `/v1/users/${userId}/alarms`, auth: token }),
		);
		if (reply.status !== 200) this.#fail(`page ${answerOf(reply)}`);
		else this.#pageTimes.push({ shard, ms: performance.now() - dueMs });
	}

	#waited(shard: number, { markMs = 0, readableMs = 0, retried = 0 }: Partial<Pause>): void {
		const pause = this.#pauses[shard];
		if (pause === undefined) return;
		pause.markMs = Math.max(pause.markMs, markMs);
		pause.readableMs = Math.max(pause.readableMs, readableMs);
		pause.retried += retried;
	}

	/** Read and unread in turn, so that there is always something to write. */
	async #markOne(at: number, dueMs: number): Promise<void> {
		const { userId, token, shard, ids } = this.#customer(at);
		const id = ids[Math.floor(at / this.#customers.length) % ids.length];
		if (id === undefined || this.#marking.has(id)) return;
		this.#marking.add(id);
		const read = !(this.#marks.get(id) ?? false);
		const request = encodeRequest({
			method: "PATCH",
			path: `/v1/users/${userId}/alarms/${id}`,
			auth: token,
			body: { read },
		});
		for (;;) {
			const reply = await this.#mark.ask(request);
			const passedMs = performance.now() - dueMs;
			this.#waited(shard, { markMs: passedMs, retried: reply.status === 503 ? 1 : 0 });
			if (reply.status === 200) break;
			if (reply.status !== 503 || passedMs > LIMIT_MS) return this.#fail(`mark ${answerOf(reply)}`);
			await sleep(AGAIN_MS);
		}
		this.#marks.set(id, read);
		this.#marking.delete(id);
	}
}

function answerOf(reply: Reply): string {
	return reply.status === 0 ? "was not answered" : `${reply.status} ${reply.body().slice(0, 200)}`;
}

let busy: Busy | null = null;

answer<BusyQuestion>(async (question) => {
	if (question.kind === "begin") {
		busy = new Busy(question);
		return null;
	}
	if (busy === null) throw new Error("it has not begun");
	return question.kind === "window" ? busy.window(question.without) : await busy.end();
});
ready();
