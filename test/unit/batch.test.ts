import fc from "fast-check";
import {
	BATCH_BYTES,
	BATCH_ITEMS,
	batchSize,
	cutBatches,
	type Decoded,
	decodeBatch,
	encodeBatch,
	encodeItem,
	type Item,
} from "../../domain/alarms/batch.ts";
import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import { NOW_MS, queued } from "./samples.ts";

const id = newAlarmId("u1", NOW_MS);
const text = fc.oneof(
	fc.string({ unit: "grapheme" }),
	fc.string({ unit: "binary" }),
	fc.constantFrom("\n", "a\r\nb", "\u2028\u2029", "👩‍👩‍👧‍👦", '"\\', "\0", " "),
);
const json = fc.jsonValue({ maxDepth: 3, stringUnit: "grapheme" });
const sent = fc.record({ title: text, body: text, idempotencyKey: text, data: fc.dictionary(text, json) });

function decode(payload: string): Decoded[] {
	return decodeBatch(Buffer.from(payload));
}

function only(found: Decoded[]): Decoded {
	expect(found).toHaveLength(1);
	return found[0] as Decoded;
}

function item(bytes: number): Item {
	return { id, shown: "", line: "", bytes, acceptedAtMs: 0 };
}

describe("a batch", () => {
	test("comes back as it was packed, whatever its alarms say", () => {
		fc.assert(
			fc.property(fc.array(sent, { minLength: 1, maxLength: 5 }), (all) => {
				// JSON knows no -0 and no __proto__ of its own: what it cannot carry is not sent.
				const packed = all.map((own) => ({
					id: newAlarmId("u1", NOW_MS),
					queued: JSON.parse(JSON.stringify(queued({ ...own } as never))),
				}));
				const payload = encodeBatch(packed.map((one) => encodeItem(one.id, one.queued)));
				const found = decode(payload.toString());
				expect(found.map((one) => one.id)).toEqual(packed.map((one) => one.id));
				expect(found.map((one) => "queued" in one && one.queued)).toEqual(packed.map((one) => one.queued));
			}),
		);
	});

	test("knows the size of each item: its UTF-8 bytes and the newline", () => {
		fc.assert(
			fc.property(fc.array(sent, { minLength: 1, maxLength: 4 }), (all) => {
				const items = all.map((own) => encodeItem(id, queued({ ...own } as never)));
				const bytes = items.reduce((sum, one) => sum + one.bytes, 0);
				return Buffer.byteLength(encodeBatch(items)) === bytes - 1;
			}),
		);
	});

	test("has one line per alarm that begins with the id", () => {
		const { line } = encodeItem(id, queued({ body: "one\ntwo" }));
		expect(line).not.toContain("\n");
		expect(line.startsWith(`${showId(id)} {`)).toBe(true);
	});

	test("is read also from a view into a larger buffer", () => {
		const { line } = encodeItem(id, queued());
		const around = Buffer.from(`xx${line}yy`);
		expect(only(decodeBatch(around.subarray(2, around.length - 2)))).toMatchObject({ id, queued: queued() });
	});
});

test("an empty payload is a batch of none: a probe", () => {
	expect(decode("")).toEqual([]);
});

describe("a corrupt line", () => {
	const sound = encodeItem(newAlarmId("u2", NOW_MS), queued({ userId: "u2" }));

	test("fails alone: its neighbours are read", () => {
		const found = decode([sound.line, `${showId(id)} {"broken`, sound.line].join("\n"));
		expect(found.map((one) => "queued" in one)).toEqual([true, false, true]);
	});

	test("keeps its id when only its JSON is broken", () => {
		expect(only(decode(`${showId(id)} {"broken`))).toMatchObject({ id, broken: "the JSON of the item is broken" });
	});

	test("keeps the line as it came, so that it can be looked at and sent again", () => {
		expect(only(decode(`${showId(id)} {"broken`)).line).toBe(`${showId(id)} {"broken`);
	});

	test.each([
		["cut off inside its id", showId(id).slice(0, 20)],
		["without an id", '{"producer":"p"}'],
		["with an id in another spelling", `${"A".repeat(26)}B {}`],
	])("has no id when it is %s", (_, line) => {
		expect(only(decode(line))).toMatchObject({ id: null, broken: expect.stringContaining("id"), line });
	});

	test.each([
		["null", null],
		["a number", 7],
		["a list", []],
		["no producer", { acceptedAtMs: 1, alarm: { userId: "u" } }],
		["no time", { producer: "p", alarm: { userId: "u" } }],
		["a time that is text", { producer: "p", acceptedAtMs: "1", alarm: { userId: "u" } }],
		["no alarm", { producer: "p", acceptedAtMs: 1 }],
		["an alarm that is null", { producer: "p", acceptedAtMs: 1, alarm: null }],
		["an alarm without userId", { producer: "p", acceptedAtMs: 1, alarm: {} }],
	])("is one whose JSON is %s", (_, value) => {
		expect(only(decode(`${showId(id)} ${JSON.stringify(value)}`))).toMatchObject({
			id,
			broken: "the item lacks its producer, time or alarm",
		});
	});

	test("is never thrown about, whatever the bytes", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
				expect(decodeBatch(bytes).length > 0).toBe(bytes.length > 0);
			}),
		);
	});
});

describe("the next batch", () => {
	test("takes all that waits when that is little", () => {
		expect(batchSize([item(10), item(10)])).toBe(2);
	});

	test("takes nothing when nothing waits", () => {
		expect(batchSize([])).toBe(0);
	});

	test("closes at 300 items", () => {
		const waiting = Array.from({ length: BATCH_ITEMS + 1 }, () => item(1));
		expect(batchSize(waiting)).toBe(300);
		expect(batchSize(waiting.slice(1))).toBe(300);
	});

	test("holds exactly 512 KB, and not a byte more", () => {
		expect(BATCH_BYTES).toBe(524_288);
		expect(batchSize([item(BATCH_BYTES - 10), item(10)])).toBe(2);
		expect(batchSize([item(BATCH_BYTES - 10), item(11)])).toBe(1);
	});

	test("lets an item that is larger than the limit go alone", () => {
		expect(batchSize([item(BATCH_BYTES + 1), item(1)])).toBe(1);
		expect(batchSize([item(1), item(BATCH_BYTES + 1)])).toBe(1);
	});
});

describe("a bulk request", () => {
	const items = fc.array(fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: BATCH_BYTES + 9 })), {
		maxLength: 1_000,
	});

	test("is cut into batches that hold every item once, in order", () => {
		fc.assert(
			fc.property(items, (sizes) => {
				const all = sizes.map(item);
				return (
					cutBatches(all)
						.flat()
						.every((one, index) => one === all[index]) && cutBatches(all).flat().length === all.length
				);
			}),
		);
	});

	test("is cut into batches that keep both limits, none of them empty", () => {
		fc.assert(
			fc.property(items, (sizes) =>
				cutBatches(sizes.map(item)).every((batch) => {
					const bytes = batch.reduce((sum, one) => sum + one.bytes, 0);
					return batch.length === 1 || (batch.length > 1 && batch.length <= BATCH_ITEMS && bytes <= BATCH_BYTES);
				}),
			),
		);
	});

	test("of no items makes no batch", () => {
		expect(cutBatches([])).toEqual([]);
	});
});
