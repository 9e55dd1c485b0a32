import fc from "fast-check";
import {
	belongsTo,
	ID_BYTES,
	idTimeMs,
	newAlarmId,
	nextId,
	parseId,
	shardOf,
	showId,
	userHash,
	userKey,
	userRange,
} from "../../domain/alarms/ids.ts";
import { NOW_MS } from "./samples.ts";

const LAST_TIME = 2 ** 48 - 1;
const user = fc.string({ minLength: 1, maxLength: 64 });
const time = fc.integer({ min: 0, max: LAST_TIME });
const shardCount = fc.constantFrom(1, 2, 4, 8, 16, 32, 64, 128, 256);

function isInside(id: Buffer, { low, high }: { low: Buffer; high: Buffer }): boolean {
	return id.compare(low) >= 0 && id.compare(high) <= 0;
}

describe("a new id", () => {
	test("has 20 bytes and is shown as 27 characters", () => {
		const id = newAlarmId("u1", NOW_MS);
		expect(id).toHaveLength(ID_BYTES);
		expect(showId(id)).toMatch(/^[\w-]{27}$/);
	});

	test("says its time", () => {
		fc.assert(fc.property(user, time, (userId, timeMs) => idTimeMs(newAlarmId(userId, timeMs)) === timeMs));
	});

	test("begins with its customer's hash, as does the key of the customer's own row", () => {
		fc.assert(
			fc.property(user, time, (userId, timeMs) => {
				const head = newAlarmId(userId, timeMs).subarray(0, 8);
				return head.equals(userHash(userId)) && head.equals(userKey(userId).subarray(0, 8));
			}),
		);
	});

	test("stands before every older id of the same customer", () => {
		fc.assert(
			fc.property(user, time, time, (userId, one, other) => {
				fc.pre(one !== other);
				const [older, newer] = one < other ? [one, other] : [other, one];
				return newAlarmId(userId, newer).compare(newAlarmId(userId, older)) < 0;
			}),
		);
	});

	test("differs from every other, also of the same customer and millisecond", () => {
		// More than the pool of random bytes holds, so that it is filled again.
		const ids = Array.from({ length: 5_000 }, () => showId(newAlarmId("u1", NOW_MS)));
		expect(new Set(ids).size).toBe(ids.length);
	});

	test("is not made for a time that does not fit", () => {
		expect(() => newAlarmId("u1", LAST_TIME + 1)).toThrow("out of range");
		expect(() => newAlarmId("u1", -1)).toThrow("out of range");
	});

	test("is shown rightly also when it is a view into a larger buffer", () => {
		const id = newAlarmId("u1", NOW_MS);
		const view = new Uint8Array([1, 2, 3, ...id, 4]).subarray(3, 23);
		expect(showId(view)).toBe(showId(id));
		expect(idTimeMs(view)).toBe(NOW_MS);
	});
});

describe("the text of an id", () => {
	test("comes back as the same id", () => {
		fc.assert(
			fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) =>
				Buffer.from(bytes).equals(parseId(showId(bytes)) ?? Buffer.alloc(0)),
			),
		);
	});

	test("parses only in the one spelling that was issued", () => {
		fc.assert(
			fc.property(fc.string({ unit: "grapheme-ascii", minLength: 27, maxLength: 27 }), (text) => {
				const id = parseId(text);
				return id === null || showId(id) === text;
			}),
		);
	});

	test("does not parse with spare bits set in its last character", () => {
		const text = showId(Buffer.alloc(20));
		expect(text).toBe("A".repeat(27));
		expect(parseId(`${"A".repeat(26)}B`)).toBeNull();
	});

	test.each([
		["empty", ""],
		["too short", "A".repeat(26)],
		["too long", "A".repeat(28)],
		["padded", `${"A".repeat(26)}=`],
		["in the other base64 alphabet", `${"A".repeat(25)}+/`],
		["with a space inside", `${"A".repeat(13)} ${"A".repeat(13)}`],
		["with a newline at its end", `${"A".repeat(26)}\n`],
	])("does not parse when it is %s", (_, text) => {
		expect(parseId(text)).toBeNull();
	});
});

describe("the shard of an id", () => {
	test("comes from the customer alone, whatever the time", () => {
		fc.assert(
			fc.property(
				user,
				time,
				time,
				shardCount,
				(userId, one, other, count) =>
					shardOf(newAlarmId(userId, one), count) === shardOf(newAlarmId(userId, other), count) &&
					shardOf(newAlarmId(userId, one), count) === shardOf(userHash(userId), count),
			),
		);
	});

	test("is one of the shards there are", () => {
		fc.assert(
			fc.property(user, shardCount, (userId, count) => {
				const shard = shardOf(userHash(userId), count);
				return Number.isInteger(shard) && shard >= 0 && shard < count;
			}),
		);
	});

	test("is a stretch of the hash: the shards are in order and equally wide", () => {
		const shards = Array.from({ length: 256 }, (_, first) => shardOf(Uint8Array.of(first), 16));
		expect(shards).toEqual(Array.from({ length: 256 }, (_, first) => Math.floor(first / 16)));
	});
});

describe("the range of a customer's ids", () => {
	test("has bounds of 20 bytes, also for times that do not fit", () => {
		fc.assert(
			fc.property(user, fc.maxSafeInteger(), fc.maxSafeInteger(), (userId, fromMs, toMs) => {
				const { low, high } = userRange(userId, fromMs, toMs);
				return low.length === ID_BYTES && high.length === ID_BYTES;
			}),
		);
	});

	test("holds an id exactly when its time is inside", () => {
		fc.assert(
			fc.property(user, time, time, time, (userId, fromMs, toMs, timeMs) => {
				const inTime = fromMs <= timeMs && timeMs <= toMs;
				return isInside(newAlarmId(userId, timeMs), userRange(userId, fromMs, toMs)) === inTime;
			}),
		);
	});

	test("holds the ids of its first and its last millisecond, and not those beside them", () => {
		const range = userRange("u1", NOW_MS - 5, NOW_MS);
		const inside = [-6, -5, 0, 1].map((offset) => isInside(newAlarmId("u1", NOW_MS + offset), range));
		expect(inside).toEqual([false, true, true, false]);
	});

	test("holds no id of another customer", () => {
		fc.assert(
			fc.property(user, user, time, (userId, other, timeMs) => {
				fc.pre(userId !== other);
				return !isInside(newAlarmId(other, timeMs), userRange(userId, 0, LAST_TIME));
			}),
		);
	});

	test("holds nothing when it ends before it begins", () => {
		const { low, high } = userRange("u1", NOW_MS, NOW_MS - 1);
		expect(low.compare(high)).toBeGreaterThan(0);
	});
});

test("an id belongs to its own customer and to no other", () => {
	const id = newAlarmId("u1", NOW_MS);
	expect(belongsTo(id, "u1")).toBe(true);
	expect(belongsTo(id, "u2")).toBe(false);
});

describe("the next id", () => {
	const asNumber = (id: Uint8Array) => BigInt(`0x${Buffer.from(id).toString("hex")}`);

	test("is one more than the id, and the id stays as it is", () => {
		fc.assert(
			fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
				const before = Buffer.from(bytes);
				const next = nextId(bytes);
				return next === null || (asNumber(next) === asNumber(before) + 1n && before.equals(bytes));
			}),
		);
	});

	test("carries over full bytes", () => {
		const id = Buffer.concat([Buffer.alloc(17), Buffer.of(7, 0xff, 0xff)]);
		expect(nextId(id)).toEqual(Buffer.concat([Buffer.alloc(17), Buffer.of(8, 0, 0)]));
	});

	test("does not exist at the very end of the key space", () => {
		expect(nextId(Buffer.alloc(20, 0xff))).toBeNull();
	});
});
