import type { NewAlarm } from "../../contracts/alarm.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import type { AlarmRow, QueuedAlarm } from "../../domain/alarms/rows.ts";

/** A moment that all pure tests share, in the middle of a month. */
export const NOW_MS = Date.parse("2026-11-22T10:00:00.000Z");
export const SECOND_MS = 1_000;
export const DAY_MS = 86_400_000;

export function iso(timeMs: number): string {
	return new Date(timeMs).toISOString();
}

export function alarm(own: Partial<NewAlarm> = {}): NewAlarm {
	return { userId: "u1", category: "transfer", title: "입금", body: "10,000원이 들어왔어요", ...own };
}

export function queued(own: Partial<NewAlarm> = {}): QueuedAlarm {
	return { producer: "core-banking", acceptedAtMs: NOW_MS, alarm: alarm(own) };
}

export function row(own: Partial<AlarmRow> & { timeMs?: number } = {}): AlarmRow {
	const { timeMs = NOW_MS, ...fields } = own;
	return {
		_id: newAlarmId(fields.userId ?? "u1", timeMs),
		userId: "u1",
		category: "transfer",
		title: "입금",
		body: "10,000원",
		producer: "core-banking",
		...fields,
	};
}
