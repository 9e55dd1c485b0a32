import type { DelayCounts } from "../../contracts/lag.ts";
import { mergeDelays, noDelays } from "./delay-histogram.ts";

/** One lane's delays in one process: all since its start, and the last minutes apart. An outage of yesterday must not stand in today's p99. */
export interface DelayRecord {
	startedMs: number;
	total: DelayCounts;
	/** By minute since 1970; the oldest first. */
	minutes: { minute: number; delays: DelayCounts }[];
}

const MINUTE_MS = 60_000;
/** "Recent" is the minute that runs and so many before it. */
const MINUTES_BEFORE = 5;

export function newRecord(nowMs: number): DelayRecord {
	return { startedMs: nowMs, total: noDelays(nowMs), minutes: [] };
}

/** Adds the delays of one round. */
export function recordDelays(record: DelayRecord, delays: DelayCounts, nowMs: number): void {
	const minute = minuteOf(nowMs);
	record.total = mergeDelays(record.total, delays);
	record.minutes = record.minutes.filter((one) => isRecent(one.minute, minute));
	const running = record.minutes.find((one) => one.minute === minute);
	if (running === undefined) record.minutes.push({ minute, delays });
	else running.delays = mergeDelays(running.delays, delays);
}

/** Delays of the last five to six minutes. */
export function recentDelays({ startedMs, minutes }: DelayRecord, nowMs: number): DelayCounts {
	const minute = minuteOf(nowMs);
	const none = noDelays(Math.max(startedMs, (minute - MINUTES_BEFORE) * MINUTE_MS));
	const recent = minutes.filter((one) => isRecent(one.minute, minute));
	return { ...recent.reduce((sum, { delays }) => mergeDelays(sum, delays), none), since: none.since };
}

function isRecent(minute: number, running: number): boolean {
	return minute >= running - MINUTES_BEFORE;
}

function minuteOf(timeMs: number): number {
	return Math.floor(timeMs / MINUTE_MS);
}
