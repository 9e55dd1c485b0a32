import fc from "fast-check";
import { nextTurn, type Pace } from "../../domain/time/rate-limit.ts";
import { NOW_MS, SECOND_MS } from "./samples.ts";

/** Asks at the given moments; when each turn comes up. */
function turnsOf(perSecond: number, askedMs: number[]): number[] {
	let pace: Pace = { perSecond, nextAtMs: 0 };
	return askedMs.map((nowMs) => {
		const { waitMs, taken } = nextTurn(pace, nowMs);
		pace = taken;
		return nowMs + waitMs;
	});
}

test("one second's turns are given at once, and then one after the other", () => {
	const turns = turnsOf(4, Array<number>(7).fill(NOW_MS)).map((ms) => ms - NOW_MS);
	expect(turns).toEqual([0, 0, 0, 0, 250, 500, 750]);
});

test("turns not taken are saved up for a second and no longer", () => {
	const later = NOW_MS + 60 * SECOND_MS;
	const turns = turnsOf(2, [NOW_MS, NOW_MS, later, later, later]).slice(2);
	expect(turns.map((ms) => ms - later)).toEqual([0, 0, 500]);
});

test("in no stretch of time are there more than its share and one second's more", () => {
	const steps = fc.array(fc.integer({ min: 0, max: 2_000 }), { minLength: 1, maxLength: 60 });
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 50 }), steps, (perSecond, waits) => {
			let nowMs = NOW_MS;
			const asked = waits.map((ms) => {
				nowMs += ms;
				return nowMs;
			});
			const turns = turnsOf(perSecond, asked);
			for (const [at, fromMs] of turns.entries()) {
				const last = turns.at(-1) ?? 0;
				const share = ((last - fromMs) / SECOND_MS) * perSecond;
				expect(turns.length - at).toBeLessThanOrEqual(share + perSecond + 1e-6 + 1);
			}
		}),
	);
});

test("several turns at once cost as much as one after the other", () => {
	const fresh: Pace = { perSecond: 1_000, nextAtMs: 0 };
	const first = nextTurn(fresh, NOW_MS, 500);
	expect(first.waitMs).toBe(0);
	const second = nextTurn(first.taken, NOW_MS, 500);
	expect(second.waitMs).toBe(0);
	expect(nextTurn(second.taken, NOW_MS, 500).waitMs).toBe(500);
	// More than a second's at once are waited for first.
	expect(nextTurn(fresh, NOW_MS, 3_000).waitMs).toBe(2_000);
});
