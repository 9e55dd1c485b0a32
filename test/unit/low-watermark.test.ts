import { LIMITS } from "../../contracts/alarm.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { lowWatermark, mayBePending } from "../../domain/alarms/low-watermark.ts";
import { DAY_MS, NOW_MS } from "./samples.ts";

const MARGIN_MS = 10_000;
const pendingAt = (timeMs: number, watermarkMs: number | null) =>
	mayBePending(newAlarmId("u1", timeMs), watermarkMs, NOW_MS);

describe("the low-watermark", () => {
	test("is a margin before the oldest that is still queued, in whatever lane", () => {
		const backlogs = [{ oldestMs: NOW_MS - 500 }, { oldestMs: NOW_MS - 900 }, { oldestMs: null }];
		expect(lowWatermark(backlogs, NOW_MS)).toBe(NOW_MS - 900 - MARGIN_MS);
	});

	test("is a margin before the question when nothing is queued", () => {
		expect(lowWatermark([{ oldestMs: null }, { oldestMs: null }], NOW_MS)).toBe(NOW_MS - MARGIN_MS);
		expect(lowWatermark([], NOW_MS)).toBe(NOW_MS - MARGIN_MS);
	});

	test("is never later than the question, whatever the queue's clock says", () => {
		expect(lowWatermark([{ oldestMs: NOW_MS + 99_999 }], NOW_MS)).toBe(NOW_MS - MARGIN_MS);
	});
});

describe("an id without a slot", () => {
	test("may be pending when it is not older than the watermark", () => {
		expect(pendingAt(NOW_MS - 100, NOW_MS - 100)).toBe(true);
		expect(pendingAt(NOW_MS - 101, NOW_MS - 100)).toBe(false);
	});

	test("may be pending as long as no watermark is known", () => {
		expect(pendingAt(0, null)).toBe(true);
	});

	test("may be pending when it is ahead by as much as sendAt may be, and not when it is further ahead", () => {
		const mostMs = NOW_MS + LIMITS.sendAheadDays * DAY_MS + MARGIN_MS;
		expect(pendingAt(mostMs, NOW_MS - 100)).toBe(true);
		expect(pendingAt(mostMs + 1, NOW_MS - 100)).toBe(false);
	});
});
