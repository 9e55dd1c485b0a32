import fc from "fast-check";
import { BatchNumbers } from "../../domain/alarms/batch-numbers.ts";

test("numbers have no gap and begin with one", () => {
	const numbers = new BatchNumbers("e");
	expect([numbers.next(), numbers.next(), numbers.next()]).toEqual([1, 2, 3]);
});

test("the account reaches only as far as every batch before was answered", () => {
	const numbers = new BatchNumbers("e");
	for (let n = 0; n < 4; n++) numbers.next();
	numbers.settle(2, true);
	expect(numbers.account()).toEqual({ epoch: "e", settled: 0, voids: [] });
	numbers.settle(1, true);
	numbers.settle(4, false);
	expect(numbers.account()).toEqual({ epoch: "e", settled: 2, voids: [] });
	numbers.settle(3, false);
	expect(numbers.account()).toMatchObject({
		settled: 4,
		voids: expect.arrayContaining([
			[3, 3],
			[4, 4],
		]),
	});
});

test("a flood of refusals is one range", () => {
	const numbers = new BatchNumbers("e");
	for (let n = 1; n <= 10_000; n++) numbers.settle(numbers.next(), false);
	expect(numbers.account().voids).toEqual([[1, 10_000]]);
});

test("in whatever order batches are answered, every number is either promised or void", () => {
	fc.assert(
		fc.property(fc.array(fc.tuple(fc.nat(), fc.boolean()), { maxLength: 50 }), (answers) => {
			const numbers = new BatchNumbers("e");
			const all = answers.map(([turn, promised]) => ({ number: numbers.next(), turn, promised }));
			for (const { number, promised } of all.toSorted((a, b) => a.turn - b.turn)) numbers.settle(number, promised);
			const { settled, voids } = numbers.account();
			const isVoid = (number: number) => voids.some(([from, to]) => from <= number && number <= to);
			expect(settled).toBe(all.length);
			expect(all.every(({ number, promised }) => isVoid(number) === !promised)).toBe(true);
		}),
	);
});

test("a number that was given back goes to the next batch, and until then nobody was promised anything under it", () => {
	const numbers = new BatchNumbers("e");
	numbers.settle(numbers.next(), true);
	const refused = numbers.next();
	numbers.settle(numbers.next(), true);
	numbers.giveBack(refused);
	expect(numbers.account()).toEqual({ epoch: "e", settled: 3, voids: [[2, 2]] });
	expect(numbers.next()).toBe(2);
	numbers.settle(2, true);
	expect(numbers.account()).toEqual({ epoch: "e", settled: 3, voids: [] });
	expect(numbers.next()).toBe(4);
});
