import { readFileSync } from "node:fs";
import path from "node:path";
import type { NewAlarm } from "../contracts/alarm.ts";
import { encodeItem, type Item } from "../domain/batch.ts";
import { newAlarmId } from "../domain/ids.ts";
import { type AlarmRow, toRow } from "../domain/rows.ts";
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
