import type { Lane } from "../../contracts/alarm.ts";
import type { DelayCounts } from "../../contracts/lag.ts";
import { addDelay, noDelays } from "../../domain/time/delay-histogram.ts";
import { lagOf, oldestPendingAgeMs, type Pending } from "../../domain/time/lag.ts";
import { lagTable } from "../../ops/lag-table.ts";
import { iso, NOW_MS } from "./samples.ts";

const EMPTY = { batches: 0, oldestMs: null, parked: new Map<number, number>() };
const NO_OUTBOX = { batches: 0, bytes: 0, oldestMs: null };

function pending(own: Partial<Pending> = {}): Pending {
	return {
		atMs: NOW_MS,
		lanes: { realtime: EMPTY, bulk: EMPTY },
		outbox: [{ cluster: "c0", holds: NO_OUTBOX }],
		lowWatermark: { atMs: NOW_MS - 10_000 },
		...own,
	};
}

function delays(...realtimeMs: number[]): Record<Lane, DelayCounts> {
	const realtime = noDelays(NOW_MS - 5_000);
	for (const delayMs of realtimeMs) addDelay(realtime, delayMs);
	return { realtime, bulk: noDelays(NOW_MS - 5_000) };
}

const FULL = pending({
	lanes: {
		realtime: {
			batches: 7,
			oldestMs: NOW_MS - 400,
			parked: new Map([
				[12, 2],
				[3, 1],
			]),
		},
		bulk: EMPTY,
	},
	outbox: [
		{ cluster: "c0", holds: { batches: 2, bytes: 900, oldestMs: NOW_MS - 2_500 } },
		{ cluster: "c1", holds: null },
	],
});

describe("the lag", () => {
	test("tells what waits for a worker apart from what is parked, by shard", () => {
		const { lanes, parked } = lagOf(FULL, []);
		expect(lanes.realtime).toMatchObject({ batches: 4, parkedBatches: 3, oldestAgeMs: 400 });
		expect(parked).toEqual([
			{ lane: "realtime", shard: 3, batches: 1 },
			{ lane: "realtime", shard: 12, batches: 2 },
		]);
	});

	test("adds up the delays of all workers that answered", () => {
		const workers = [
			{ node: "w1", delays: delays(4) },
			{ node: "w2", delays: delays(40, 41) },
			{ node: "w3", delays: null },
		];
		const lag = lagOf(pending(), workers);
		expect(lag.lanes.realtime.delay).toMatchObject({ count: 3, maxMs: 41, since: iso(NOW_MS - 5_000) });
		expect(lag).toMatchObject({ workers: ["w1", "w2"], unavailable: ["worker w3"] });
	});

	test("names every part that did not answer, and makes no number of it", () => {
		const lag = lagOf(pending({ lanes: null, outbox: FULL.outbox, lowWatermark: null }), []);
		expect(lag.unavailable).toEqual(["queue", "outbox c1", "low-watermark", "workers"]);
		expect(lag.lanes.bulk).toMatchObject({ batches: null, parkedBatches: null, oldestAgeMs: null });
		expect(lag.outbox).toEqual([
			{ cluster: "c0", batches: 2, bytes: 900, oldestAgeMs: 2_500 },
			{ cluster: "c1", unavailable: true },
		]);
		expect(lag.lowWatermark).toBeNull();
	});
});

describe("the age of the oldest on its way", () => {
	test("is that of the oldest in any lane or outbox", () => {
		expect(oldestPendingAgeMs(FULL)).toBe(2_500);
	});

	test("is 0 when nothing waits, and not known when it cannot be seen", () => {
		expect(oldestPendingAgeMs(pending())).toBe(0);
		expect(oldestPendingAgeMs(pending({ lanes: null }))).toBeNull();
		expect(oldestPendingAgeMs(pending({ outbox: [{ cluster: "c0", holds: null }] }))).toBeNull();
		expect(oldestPendingAgeMs(pending({ lowWatermark: null }))).toBe(0);
	});

	test("is never below zero: clocks differ", () => {
		const ahead = { batches: 1, oldestMs: NOW_MS + 50, parked: new Map<number, number>() };
		expect(oldestPendingAgeMs(pending({ lanes: { realtime: ahead, bulk: EMPTY } }))).toBe(0);
	});
});

test("on a console it is a small table, with what does not answer in its last line", () => {
	const lines = lagTable(lagOf(FULL, [{ node: "w1", delays: delays(4, 1_500) }])).split("\n");
	expect(lines.slice(0, 3).map((line) => line.split(/ {2,}/))).toEqual([
		["lane", "waiting", "parked", "oldest", "stored", "p50", "p99", "longest"],
		["realtime", "4", "3", "400 ms", "2", "5 ms", "1.5 s", "1.5 s"],
		["bulk", "0", "0", "-", "0", "-", "-", "-"],
	]);
	expect(lines).toContain("parked: 2 batches of the realtime lane for shard 12");
	expect(lines).toContain("outbox c0: 2 batches, 900 bytes, the oldest 2.5 s old");
	expect(lines.at(-1)).toBe("DOES NOT ANSWER: outbox c1");
});
