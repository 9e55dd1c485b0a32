import type { Lane, NewAlarm } from "../../contracts/alarm.ts";
import { Fault } from "../../contracts/errors.ts";
import { invalid } from "../validation-fault.ts";
import { contentFaults } from "./alarm-content.ts";
import { encodeItem, type Item } from "./batch.ts";
import { newAlarmId } from "./ids.ts";

/** A new alarm that may be queued: its item, its lane. */
export interface Submission {
	item: Item;
	lane: Lane;
	acceptedAtMs: number;
}

/** @throws {Fault} VALIDATION_FAILED with every fault, TEMPLATES_UNAVAILABLE. The shape has been checked before. */
export function prepare(alarm: NewAlarm, producer: string, nowMs: number, lane: Lane): Submission {
	const faults = contentFaults(alarm, nowMs);
	if (faults.length > 0) throw invalid(faults);
	if (alarm.template !== undefined) {
		throw new Fault(
			"TEMPLATES_UNAVAILABLE",
			`The template "${alarm.template}" cannot be used yet; send title and body.`,
		);
	}
	const timeMs = alarm.sendAt === undefined ? nowMs : Math.max(Date.parse(alarm.sendAt), nowMs);
	const id = newAlarmId(alarm.userId, timeMs);
	const item = encodeItem(id, { producer, acceptedAtMs: nowMs, alarm });
	return { item, lane: alarm.lane ?? lane, acceptedAtMs: nowMs };
}
