import { chanceOf } from "../support/chance.ts";

const drawn = (seed: number, purpose: string) => {
	const chance = chanceOf(seed, purpose);
	return Array.from({ length: 50 }, () => chance.between(1, 1_000));
};

test("the same seed and purpose give the same again, another of either gives another", () => {
	expect(drawn(7, "load")).toEqual(drawn(7, "load"));
	expect(drawn(8, "load")).not.toEqual(drawn(7, "load"));
	expect(drawn(7, "kills")).not.toEqual(drawn(7, "load"));
});

test("every number between the bounds comes, and none beyond them", () => {
	const chance = chanceOf(1, "bounds");
	const found = new Set(Array.from({ length: 500 }, () => chance.between(3, 7)));
	expect([...found].sort()).toEqual([3, 4, 5, 6, 7]);
	expect(Array.from({ length: 500 }, () => chance.next()).every((one) => one >= 0 && one < 1)).toBe(true);
});
