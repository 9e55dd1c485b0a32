import fc from "fast-check";
import { diffRows, type SweptRow } from "../../domain/jobs/row-diff.ts";

const row = (id: number, value = "same"): SweptRow => ({ id: Buffer.of(id), bytes: Buffer.from(`${id} ${value}`) });
const named = (ids: Buffer[]) => ids.map((id) => id[0]);
const OVER: [boolean, boolean] = [true, true];

test("equal sides have nothing different and nothing left", () => {
	expect(diffRows([row(1), row(2)], [row(1), row(2)], OVER)).toEqual({ different: [], rest: [[], []] });
});

test.each([
	["another content", [row(1), row(2, "spoiled"), row(3)], [2]],
	["a missing row", [row(1), row(3)], [2]],
	["a row too many", [row(0), row(1), row(2), row(3)], [0]],
	["a missing last row", [row(1), row(2)], [3]],
	["a row too many at the end", [row(1), row(2), row(3), row(9)], [9]],
	["one missing and one too many, with the same count", [row(1), row(2), row(4)], [3, 4]],
	["nothing at all", [], [1, 2, 3]],
])("%s has a name, on either side", (_, other, names) => {
	const one = [row(1), row(2), row(3)];
	expect(named(diffRows(one, other, OVER).different).sort()).toEqual(names);
	expect(named(diffRows(other, one, OVER).different).sort()).toEqual(names);
});

test("what one side has read beyond the other waits for the other", () => {
	const { different, rest } = diffRows([row(1), row(2), row(3)], [row(1)], [false, false]);
	expect(different).toEqual([]);
	expect(named(rest[0].map(({ id }) => id))).toEqual([2, 3]);
	expect(rest[1]).toEqual([]);
});

test("however the sides are cut into chunks, the same rows differ", () => {
	const side = fc.uniqueArray(fc.record({ id: fc.nat(40), value: fc.constantFrom("a", "b") }), {
		selector: ({ id }) => id,
	});
	fc.assert(
		fc.property(side, side, fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), (one, other, by, step) => {
			const [left, right] = [one, other].map((some) =>
				some.toSorted((a, b) => a.id - b.id).map(({ id, value }) => row(id, value)),
			) as [SweptRow[], SweptRow[]];
			const whole = named(diffRows(left, right, OVER).different).sort();
			expect(inChunks(left, right, by, step).sort()).toEqual(whole);
		}),
	);
});

function inChunks(left: SweptRow[], right: SweptRow[], by: number, step: number): (number | undefined)[] {
	const found: (number | undefined)[] = [];
	const ended: [boolean, boolean] = [false, false];
	let rest: [SweptRow[], SweptRow[]] = [[], []];
	const read = (side: 0 | 1, from: SweptRow[], size: number) => {
		if (ended[side] || rest[side].length > 0) return [];
		const some = from.splice(0, size);
		ended[side] = some.length === 0;
		return some;
	};
	while (!ended[0] || !ended[1]) {
		const [one, other] = [read(0, left, by), read(1, right, step)];
		const diff = diffRows(rest[0].concat(one), rest[1].concat(other), ended);
		found.push(...named(diff.different));
		rest = diff.rest;
	}
	return found;
}
