import { setTimeout as sleep } from "node:timers/promises";
import type { NewAlarm } from "../../contracts/alarm.ts";
import { type Chance, chanceOf } from "./chance.ts";
import { eventually } from "./eventually.ts";
import { marked, readSamples } from "./load.ts";
import { type Marked, type Sent, send, sendBulk } from "./oracle.ts";
import type { Rest } from "./rest.ts";

/** Requests at a steady rate, whatever the answers are, until it is told to stop: what producers see of a fault. */

export interface LoadPlan {
	/** Marks the alarms of this load. */
	name: string;
	seed: number;
	/** The edges; each request goes to one of them by chance. */
	producers: Rest[];
	perSecond?: number;
	/** One request of so many is a bulk request. */
	bulkEvery?: number;
	bulkItems?: number;
	/** The alarms carry keys, and what was doubtful or refused is sent again with its key until it is accepted. */
	keyed?: boolean;
}

/** What a producer was told, and when (ms on the monotonic clock). */
export type Answered = Sent & { sentMs: number; toldMs: number };

const USERS = 200;
/** More than that without an answer, and the load waits: the machine is not to drown in it. */
const IN_HAND_MOST = 400;
const AGAIN_MS = 300;
const AGAIN_MOST = 100;

export class SteadyLoad {
	readonly answers: Answered[] = [];
	readonly #plan: Required<LoadPlan>;
	readonly #chance: Chance;
	readonly #samples: NewAlarm[];
	readonly #inHand = new Set<Promise<void>>();
	#made = 0;
	#isStopping = false;
	readonly #running: Promise<void>;
	readonly startMs = performance.now();
	stopMs = Number.POSITIVE_INFINITY;

	private constructor(plan: LoadPlan, samples: NewAlarm[]) {
		this.#plan = { perSecond: 60, bulkEvery: 12, bulkItems: 25, keyed: false, ...plan };
		this.#chance = chanceOf(plan.seed, `load ${plan.name}`);
		this.#samples = samples;
		this.#running = this.#run();
	}

	static async start(plan: LoadPlan): Promise<SteadyLoad> {
		return new SteadyLoad(plan, await readSamples());
	}

	/** How many alarms were accepted by now. */
	get accepted(): number {
		return this.answers.filter(({ told }) => told.is === "ok").length;
	}

	/** Resolves when so many more alarms are accepted than now. */
	async acceptedMore(count: number, limitMs?: number): Promise<void> {
		const most = this.accepted + count;
		await eventually(() => this.accepted >= most, `${count} more alarms accepted`, limitMs);
	}

	/** Sends no more, and resolves when everything has its answer. */
	async stop(): Promise<Answered[]> {
		this.#isStopping = true;
		await this.#running;
		await Promise.all(this.#inHand);
		this.stopMs = Math.min(this.stopMs, performance.now());
		return this.answers;
	}

	async #run(): Promise<void> {
		for (let nextMs = performance.now(); !this.#isStopping; nextMs += this.#gapMs()) {
			await sleep(Math.max(0, nextMs - performance.now()));
			if (this.#inHand.size >= IN_HAND_MOST) await Promise.race(this.#inHand);
			const sending = this.#sendNext().finally(() => this.#inHand.delete(sending));
			this.#inHand.add(sending);
		}
		this.stopMs = performance.now();
	}

	/** Between two requests, as in life: by chance, around the mean. */
	#gapMs(): number {
		return (-Math.log(1 - this.#chance.next()) * 1_000) / this.#plan.perSecond;
	}

	#sendNext(): Promise<void> {
		const producer = this.#chance.pick(this.#plan.producers);
		const isBulk = this.#chance.between(1, this.#plan.bulkEvery) === 1;
		if (!isBulk) return this.#ask([this.#next()], async ([alarm]) => [await send(producer, alarm as Marked)]);
		const alarms = Array.from({ length: this.#plan.bulkItems }, () => this.#next());
		return this.#ask(alarms, (some) => sendBulk(producer, some));
	}

	#next(): Marked {
		const mark = `${this.#plan.name}-${this.#made++}`;
		const sample = this.#chance.pick(this.#samples);
		const alarm = marked(sample, mark, `${this.#plan.name}-u${this.#chance.between(1, USERS)}`);
		return this.#plan.keyed ? { ...alarm, idempotencyKey: mark } : alarm;
	}

	async #ask(alarms: Marked[], post: (alarms: Marked[]) => Promise<Sent[]>): Promise<void> {
		let left = alarms;
		for (let attempt = 0; left.length > 0 && attempt < AGAIN_MOST; attempt++) {
			if (attempt > 0) await sleep(AGAIN_MS);
			const sentMs = performance.now();
			const sent = await post(left);
			const toldMs = performance.now();
			this.answers.push(...sent.map((one) => ({ ...one, sentMs, toldMs })));
			left = this.#plan.keyed ? sent.filter(({ told }) => told.is !== "ok").map(({ alarm }) => alarm) : [];
		}
	}
}

/** How long producers were without a 202 at the longest, in ms, while the load ran. */
export function longestSilenceMs(answers: Answered[], startMs: number, stopMs: number): number {
	const accepted = answers.filter(({ told }) => told.is === "ok").map(({ toldMs }) => toldMs);
	const moments = [startMs, ...accepted.sort((one, other) => one - other), stopMs];
	return Math.max(...moments.slice(1).map((atMs, index) => atMs - (moments[index] ?? startMs)));
}
