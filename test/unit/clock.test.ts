import { clockTrouble } from "../../domain/time/clock.ts";

const reading = (theirsMs: number, askedMs = 100_000, heardMs = askedMs + 10) => ({
	server: "s",
	theirsMs,
	askedMs,
	heardMs,
});

test.each([100_000, 95_005, 105_000])("a clock within five seconds of ours is no trouble: %d", (theirsMs) => {
	expect(clockTrouble([reading(theirsMs)])).toBeNull();
});

test("a clock that is further off says by how much, and in which direction", () => {
	expect(clockTrouble([reading(100_005), reading(110_010)])).toContain("10.0 s behind that of s");
	expect(clockTrouble([reading(90_000)])).toContain("10.0 s ahead of that of s");
});

test("a slow answer is no proof of a wrong clock", () => {
	expect(clockTrouble([reading(108_000, 100_000, 110_000)])).toBeNull();
	expect(clockTrouble([reading(100_000, 100_000, 110_000)])).toBeNull();
});

test("without a reading nothing is known to be wrong", () => {
	expect(clockTrouble([])).toBeNull();
});
