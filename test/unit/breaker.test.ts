import { attempt, CLOSED, isClosed, opened } from "../../domain/time/breaker.ts";

const PACE = { firstMs: 100, mostMs: 800 };

test("a closed breaker lets everybody through and stays as it is", () => {
	expect(attempt(CLOSED, 0, PACE)).toEqual({ may: true, next: CLOSED });
});

test("one silence opens it: nobody waits for a server that has just been silent", () => {
	const open = opened(CLOSED, 1_000, PACE);
	expect(isClosed(open)).toBe(false);
	expect(attempt(open, 1_099, PACE).may).toBe(false);
});

test("when it is due exactly one trial is let through", () => {
	const first = attempt(opened(CLOSED, 1_000, PACE), 1_100, PACE);
	expect(first.may).toBe(true);
	expect(attempt(first.next, 1_101, PACE).may).toBe(false);
	expect(isClosed(first.next)).toBe(false);
});

test("it rests longer after each silence, up to a most", () => {
	let breaker = CLOSED;
	const rests = Array.from({ length: 6 }, () => {
		breaker = opened(breaker, 0, PACE);
		return breaker.untilMs;
	});
	expect(rests).toEqual([100, 200, 400, 800, 800, 800]);
});
