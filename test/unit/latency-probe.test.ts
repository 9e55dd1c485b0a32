import fc from "fast-check";
import { NO_BASELINE, observe, waitAfter } from "../../domain/jobs/latency-probe.ts";

/** What each reading was found to be. */
function felt(readings: number[]): boolean[] {
	let baseline = NO_BASELINE;
	return readings.map((readMs) => {
		const { baseline: next, isSlow } = observe(baseline, readMs);
		baseline = next;
		return isSlow;
	});
}

test("a read is slow that takes several times as long as the best", () => {
	expect(felt([2, 2, 9, 2, 7])).toEqual([false, false, true, false, false]);
});

test("no read of a few ms is slow, however quick the best was", () => {
	expect(felt([0.2, 4.9, 5.1])).toEqual([false, false, true]);
});

test("a cluster that has become slower for good is taken as it is after a while", () => {
	const readings = felt([2, ...Array<number>(200).fill(20)]);
	expect([readings[1], readings.at(-1)]).toEqual([true, false]);
});

test("the waits for slow reads grow, and are bounded", () => {
	const waits = [1, 2, 3, 4, 5, 6, 7].map(waitAfter);
	expect(waits).toEqual([50, 100, 200, 400, 800, null, null]);
	fc.assert(fc.property(fc.integer({ min: 6 }), (slow) => expect(waitAfter(slow)).toBeNull()));
});
