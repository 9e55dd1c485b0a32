import type { Document } from "mongodb";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import type { QueuedAlarm } from "../../domain/alarms/rows.ts";
import { type Decision, triage } from "../../domain/alarms/triage.ts";
import { claimsOf, keySteps } from "../../stores/alarms/idempotency-keys.ts";
import { type IntakeDeps, takeIn } from "../../stores/alarms/insert-alarms.ts";
import { eventually } from "./eventually.ts";

/** Requests that contend for one idempotency key, carried out step by step against a real database. */
export interface Contender {
	id: Buffer;
	acceptedAtMs: number;
	/** What a worker decides at each delivery, afresh. */
	decide(): Decision;
}

const AT = { lane: "realtime", sequence: 1, index: 0 } as const;

export function contender(userId: string, acceptedAt: string, nowMs: number, more: object = {}): Contender {
	const acceptedAtMs = Date.parse(acceptedAt);
	const alarm = { userId, category: "card", title: "t", body: "b", idempotencyKey: "k", ...more };
	const queued: QueuedAlarm = { producer: "demo", acceptedAtMs, alarm };
	const id = newAlarmId(userId, acceptedAtMs);
	const { line } = encodeItem(id, queued);
	return { id, acceptedAtMs, decide: () => triage({ id, queued, line }, nowMs, { ...AT, streamTimeMs: nowMs }) };
}

/** One delivery: the steps of the key, then the slot with its failure row. Whoever stops asking for steps has crashed. */
export async function* deliver(deps: IntakeDeps, { decide }: Contender): AsyncGenerator<void, void, void> {
	const decision = decide();
	const held = new Map<Decision, string>();
	for await (const _ of keySteps(deps, claimsOf(deps, [decision]), held)) yield;
	if (held.size > 0) return;
	const { keyed: _, ...settled } = decision;
	await takeIn(deps, [settled]);
	yield;
}

/** Steps of one delivery: rows, neighbours, meetings, marks, slot. */
export const STEPS = 5;

/** Every order in which `first` steps of one and `second` steps of another can follow each other: "aab", "aba", "baa". */
export function orders(first: number, second: number): string[] {
	if (first === 0) return ["b".repeat(second)];
	if (second === 0) return ["a".repeat(first)];
	return [
		...orders(first - 1, second).map((rest) => `a${rest}`),
		...orders(first, second - 1).map((rest) => `b${rest}`),
	];
}

/** The second step only reads: whoever crashes after it has done no more than one that crashed before. */
const COUNTS = [0, 1, 3, 4, 5];
/** What each step touches; only the second step, which looks for neighbours among the keys, does not write. */
const TOUCHES = ["keys", "keys", "slots", "keys", "slots"];
const NEIGHBOURS = 1;

/**
 * All orders in which two deliveries can run, each crashing after any of its steps or not at all. Of those that differ only in which of
 * two steps came first that do not touch the same, one stands for all: nobody could tell them apart.
 */
export function everyOrder(): string[] {
	const all = COUNTS.flatMap((first) => COUNTS.flatMap((second) => orders(first, second)));
	return all.filter((order) => !hasIdleSwap(order));
}

/** Whether a step of b comes right before one of a that does not care: the order with the two swapped is among all orders, too. */
function hasIdleSwap(order: string): boolean {
	const done = { a: 0, b: 0 };
	const steps = [...order].map((who) => ({ who, step: done[who as "a" | "b"]++ }));
	return steps.some(({ who, step }, at) => {
		const before = steps[at - 1];
		return before?.who === "b" && who === "a" && isIndifferent(before.step, step);
	});
}

function isIndifferent(one: number, other: number): boolean {
	return TOUCHES[one] !== TOUCHES[other] || (one === NEIGHBOURS && other === NEIGHBOURS);
}

/** Delivers until it is safe, as the queue does. */
export async function redeliver(deps: IntakeDeps, { decide }: Contender): Promise<void> {
	await eventually(async () => (await takeIn(deps, [decide()]))[0]?.safe, "the redelivery to be safe", 10_000);
}

/** The ids of those that became alarms, and where each other one leads: through duplicates to the last that is named. */
export function resolve(slots: Document[]): { alarms: string[]; ends: string[] } {
	const byId = new Map(slots.map((slot) => [showId(slot._id), slot]));
	const end = (id: string): string => {
		const slot = byId.get(id);
		return slot?.outcome === "duplicate" ? end(showId(slot.of)) : id;
	};
	const alarms = slots.filter(({ outcome }) => outcome === undefined).map(({ _id }) => showId(_id));
	return { alarms, ends: [...byId.keys()].map(end) };
}
