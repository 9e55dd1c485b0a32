import { readFileSync } from "node:fs";
import path from "node:path";
import type { NewAlarm } from "../contracts/alarm.ts";
import { encodeItem, type Item } from "../domain/alarms/batch.ts";
import { newAlarmId, shardOf, userHash } from "../domain/alarms/ids.ts";
import { type AlarmRow, toRow } from "../domain/alarms/rows.ts";
import { ROOT } from "./child.ts";

/** Payloads of every figure: the alarms of the sample, given to as many customers as a real day has. */

const USERS = 50_000;
const PRODUCER = "bench";

const sample: NewAlarm[] = readFileSync(path.join(ROOT, "examples/alarms.ndjson"), "utf8")
	.trim()
	.split("\n")
	.map((line) => JSON.parse(line));

export const SAMPLE_SIZE = sample.length;

/** The sample's alarm number `at`, as it is. */
export function sampleAlarm(at: number): NewAlarm {
	const alarm = sample[at % sample.length];
	if (alarm === undefined) throw new Error("the sample is empty");
	return alarm;
}

/** The same for another customer and with a key of its own: no two are duplicates of each other. */
export function freshAlarm(at: number, salt: string): NewAlarm {
	return { ...sampleAlarm(at), userId: userName(at * 7_919), idempotencyKey: `${salt}-${at}` };
}

/**
 * The sample's alarm number `at` with amounts, numbers and moments of its own: the sample's two thousand texts, repeated, would look smaller
 * to a compressor than what is stored in a year. What stands in the text and in the data stays the same in both.
 */
export function variedAlarm(at: number, userId: string, timeMs: number): NewAlarm {
	const { body = "", link, data, ...alarm } = sampleAlarm(at);
	const others = new Map<string, string>();
	const key = `${alarm.category}-${otherDigits("000000")}-${Math.floor(Math.random() * 2 ** 32).toString(16)}`;
	return {
		...alarm,
		userId,
		body: withOtherNumbers(body, others),
		...(link !== undefined && { link: withOtherNumbers(link, others) }),
		...(data !== undefined && { data: JSON.parse(withOtherNumbers(JSON.stringify(data), others)) }),
		occurredAt: new Date(timeMs - 500).toISOString(),
		idempotencyKey: key,
	};
}

/** Amounts in texts and in data, accounts, transactions. Neither dates nor the bank's own telephone number. */
const NUMBERS = /\d{1,3}(?:,\d{3})+|\d{5,}|\d+(?=원)|(?<=":)\d+/g;

function withOtherNumbers(text: string, others: Map<string, string>): string {
	return text.replace(NUMBERS, (number) => {
		const plain = number.replaceAll(",", "");
		const other = others.get(plain) ?? otherDigits(plain);
		others.set(plain, other);
		return number === plain ? other : Number(other).toLocaleString("en");
	});
}

/** As many, the first no zero, so that a number stays one. */
function otherDigits(digits: string): string {
	const least = 10 ** (digits.length - 1);
	return String(Math.floor(least + Math.random() * 9 * least));
}

/** Names of customers of one shard. */
export function customersOf(shard: number, shardCount: number, count: number, salt = "c"): string[] {
	const found: string[] = [];
	for (let at = 0; found.length < count; at++) {
		const name = `${salt}${String(at).padStart(6, "0")}`;
		if (shardOf(userHash(name), shardCount) === shard) found.push(name);
	}
	return found;
}

export function userName(at: number): string {
	return `u${String(at % USERS).padStart(6, "0")}`;
}

/** An item as the creation edge would queue it. */
export function queuedItem(alarm: NewAlarm, timeMs: number): Item {
	return encodeItem(newAlarmId(alarm.userId, timeMs), { producer: PRODUCER, acceptedAtMs: timeMs, alarm });
}

/** A row as the worker would store it. */
export function storedRow(alarm: NewAlarm, timeMs: number): AlarmRow {
	return toRow(newAlarmId(alarm.userId, timeMs), { producer: PRODUCER, acceptedAtMs: timeMs, alarm });
}
