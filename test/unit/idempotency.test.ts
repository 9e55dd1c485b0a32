import fc from "fast-check";
import type { NewAlarm } from "../../contracts/alarm.ts";
import { encodeItem } from "../../domain/alarms/batch.ts";
import {
	bodyHashOf,
	claimOf,
	isSettled,
	type KeyRow,
	keyRowId,
	lossAfter,
	lossOnOwnDay,
	meetingOf,
	tombstoneOf,
} from "../../domain/alarms/idempotency.ts";
import { ID_BYTES, newAlarmId, shardOf, showId } from "../../domain/alarms/ids.ts";
import type { Tombstone } from "../../domain/alarms/rows.ts";
import { type Decision, markFailed, triage } from "../../domain/alarms/triage.ts";
import { alarm, DAY_MS, iso, NOW_MS, queued, row as stored } from "./samples.ts";

const AT = { lane: "realtime", streamTimeMs: NOW_MS, sequence: 1, index: 0 } as const;
const hashOf = (title: string) => bodyHashOf(alarm({ title }));

function decided(own: Partial<NewAlarm> = {}, timeMs = NOW_MS): Decision {
	const item = queued({ idempotencyKey: "k", ...own });
	const id = newAlarmId("u1", timeMs);
	return triage({ id, queued: item, line: encodeItem(id, item).line }, NOW_MS, AT);
}
function keyRow(own: Partial<KeyRow> = {}): KeyRow {
	const id = newAlarmId("u1", NOW_MS);
	return { _id: keyRowId(id, "p", "k", "u1"), alarm: id, bodyHash: hashOf("t"), ...own };
}

describe("the id of a key's row", () => {
	const id = newAlarmId("u1", NOW_MS);
	const text = fc.string({ maxLength: 12 });

	test("has the length of an alarm's id and lies in the shard of the alarm", () => {
		fc.assert(
			fc.property(text, text, text, (userId, producer, key) => {
				const alarmId = newAlarmId(userId, NOW_MS);
				const rowId = keyRowId(alarmId, producer, key, userId);
				expect(rowId).toHaveLength(ID_BYTES);
				expect(shardOf(rowId, 256)).toBe(shardOf(alarmId, 256));
			}),
		);
	});

	test("is the same for every request of the key, whenever it was made", () => {
		expect(keyRowId(newAlarmId("u1", 0), "p", "k", "u1")).toEqual(keyRowId(id, "p", "k", "u1"));
	});

	test("differs as soon as producer, key or customer do, wherever one ends and the next begins", () => {
		fc.assert(
			fc.property(fc.tuple(text, text, text), fc.tuple(text, text, text), (one, other) => {
				const isSame = one.every((part, at) => part === other[at]);
				expect(keyRowId(id, ...one).equals(keyRowId(id, ...other))).toBe(isSame);
			}),
		);
		expect(keyRowId(id, "ab", "c", "u")).not.toEqual(keyRowId(id, "a", "bc", "u"));
		expect(keyRowId(id, 'a","b', "c", "u")).not.toEqual(keyRowId(id, "a", 'b","c', "u"));
	});
});

describe("the hash of the content", () => {
	test("does not depend on the order of fields, at any depth", () => {
		const one = alarm({ data: { a: 1, b: { c: [1, { d: 2, e: 3 }], f: null } } });
		const reversed = (value: unknown): unknown => {
			if (Array.isArray(value)) return value.map(reversed);
			if (typeof value !== "object" || value === null) return value;
			return Object.fromEntries(
				Object.entries(value)
					.reverse()
					.map(([name, inner]) => [name, reversed(inner)]),
			);
		};
		expect(bodyHashOf(reversed(one) as NewAlarm)).toEqual(bodyHashOf(one));
	});

	test("does not depend on the key, nor on fields that are not there", () => {
		expect(bodyHashOf(alarm({ idempotencyKey: "a" }))).toEqual(bodyHashOf(alarm()));
		expect(bodyHashOf({ ...alarm(), link: undefined } as unknown as NewAlarm)).toEqual(bodyHashOf(alarm()));
	});

	test("differs when any of the content does", () => {
		const hashes = [
			{},
			{ title: "x" },
			{ data: {} },
			{ data: { a: [] } },
			{ data: { a: {} } },
			{ data: { a: "1" } },
			{ data: { a: 1 } },
		].map((own) => bodyHashOf(alarm(own)).toString("hex"));
		expect(new Set(hashes).size).toBe(hashes.length);
	});

	test("of JSON is the same after it was written and read", () => {
		fc.assert(
			fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (data) => {
				const one = JSON.parse(JSON.stringify(alarm({ data: data as NonNullable<NewAlarm["data"]> }))) as NewAlarm;
				expect(bodyHashOf(JSON.parse(JSON.stringify(one)))).toEqual(bodyHashOf(one));
			}),
		);
	});
});

describe("a claim", () => {
	test("is made by an alarm with a key, on the day of its acceptance", () => {
		const decision = decided();
		expect(claimOf(decision)).toEqual({
			day: "2026_11_22",
			producer: "core-banking",
			row: {
				_id: keyRowId(decision.id, "core-banking", "k", "u1"),
				alarm: decision.id,
				bodyHash: bodyHashOf(alarm()),
			},
		});
	});

	test("of an alarm for later is made on the day of its acceptance too, and remembers when that was", () => {
		const sendAt = iso(NOW_MS + 20 * DAY_MS);
		expect(claimOf(decided({ sendAt }, NOW_MS + 20 * DAY_MS))).toMatchObject({
			day: "2026_11_22",
			row: { acceptedAt: new Date(NOW_MS) },
		});
	});

	test("is made neither without a key, nor by what is no alarm anyway", () => {
		const id = newAlarmId("u1", NOW_MS);
		expect(claimOf(triage({ id, queued: queued(), line: "" }, NOW_MS, AT))).toBeNull();
		expect(claimOf(decided({ expiresAt: iso(NOW_MS) }))).toBeNull();
		expect(claimOf(markFailed(decided(), "STORE_REJECTED", NOW_MS))).toBeNull();
	});
});

describe("the row of the own day", () => {
	const own = keyRow();

	test("that is the request's own lets it go on", () => {
		expect(lossOnOwnDay(own, { ...own })).toBeNull();
	});

	test("that is another's makes a duplicate, or a conflict when the content differs", () => {
		const other = keyRow();
		expect(lossOnOwnDay(own, other)).toEqual({ of: other.alarm, isConflict: false });
		expect(lossOnOwnDay(own, { ...other, bodyHash: hashOf("x") })).toEqual({ of: other.alarm, isConflict: true });
	});

	test("that has lost itself names the alarm against which it has, also to its own request", () => {
		const original = newAlarmId("u1", NOW_MS - DAY_MS);
		expect(lossOnOwnDay(own, keyRow({ of: original }))).toEqual({ of: original, isConflict: false });
		expect(lossOnOwnDay(own, { ...own, of: original })).toEqual({ of: original, isConflict: false });
		expect(lossOnOwnDay(own, { ...own, of: original, bodyHash: hashOf("x") })).toEqual({
			of: original,
			isConflict: true,
		});
	});
});

describe("holders of one key on neighbouring days", () => {
	const own = { row: keyRow(), day: "2026_11_22" };
	const before = keyRow();
	const after = { row: keyRow(), day: "2026_11_23" };
	const real = stored();
	const lost = (of: Buffer): Tombstone => ({ _id: after.row.alarm, outcome: "duplicate", of, at: new Date(NOW_MS) });

	test("without any of them there is no meeting", () => {
		expect(meetingOf(own, undefined, undefined)).toBeNull();
	});

	test("the day before wins over the own one, also when there is a day after", () => {
		expect(meetingOf(own, before, undefined)).toEqual({ loser: own, winner: before });
		expect(meetingOf(own, before, after)).toEqual({ loser: own, winner: before });
	});

	test("the own day wins over the day after", () => {
		expect(meetingOf(own, undefined, after)).toEqual({ loser: after, winner: own.row });
	});

	test("one that has lost already takes nothing from its neighbours", () => {
		const of = newAlarmId("u1", NOW_MS - 2 * DAY_MS);
		expect(meetingOf(own, { ...before, of }, undefined)).toBeNull();
		expect(meetingOf(own, undefined, { ...after, row: { ...after.row, of } })).toBeNull();
		expect(meetingOf(own, { ...before, of }, after)).toEqual({ loser: after, winner: own.row });
	});

	test("a request does not meet itself", () => {
		expect(meetingOf(own, { ...own.row }, { ...after, row: own.row })).toBeNull();
	});

	test("the later one has lost when a markFailed stands in its slot, and stays when it is stored", () => {
		const meeting = { loser: own, winner: before };
		expect(lossAfter(meeting, own.row, lost(before.alarm))).toEqual({ of: before.alarm, isConflict: false });
		expect(lossAfter(meeting, own.row, real)).toBeNull();
	});

	test("the earlier one goes on when the later is no alarm, and has lost against it when it is", () => {
		const meeting = { loser: after, winner: own.row };
		expect(lossAfter(meeting, own.row, lost(own.row.alarm))).toBeNull();
		expect(lossAfter(meeting, own.row, lost(before.alarm))).toBeNull();
		expect(lossAfter(meeting, own.row, null)).toBeNull();
		expect(lossAfter(meeting, own.row, real)).toEqual({ of: after.row.alarm, isConflict: false });
	});

	test("a loser may be marked only when its slot names the winner", () => {
		const meeting = { loser: after, winner: own.row };
		expect(isSettled(meeting, lost(own.row.alarm))).toBe(true);
		expect(isSettled(meeting, lost(before.alarm))).toBe(false);
		expect(isSettled(meeting, { _id: after.row.alarm, outcome: "canceled", at: new Date(NOW_MS) })).toBe(false);
		expect(isSettled(meeting, real)).toBe(false);
		expect(isSettled(meeting, null)).toBe(false);
	});

	test("a duplicate's markFailed names the alarm and the producer, and when it was accepted if its id does not tell", () => {
		expect(tombstoneOf({ loser: after, winner: own.row }, "p", NOW_MS)).toEqual({
			_id: after.row.alarm,
			outcome: "duplicate",
			of: own.row.alarm,
			producer: "p",
			at: new Date(NOW_MS),
		});
		const later = { ...after, row: { ...after.row, acceptedAt: new Date(5) } };
		expect(tombstoneOf({ loser: later, winner: own.row }, "p", NOW_MS)).toHaveProperty("acceptedAt", new Date(5));
	});

	test("a conflict's markFailed is a failure that names the alarm", () => {
		const other = { ...after, row: { ...after.row, bodyHash: hashOf("x") } };
		expect(tombstoneOf({ loser: other, winner: own.row }, "p", NOW_MS)).toMatchObject({
			outcome: "failed",
			of: own.row.alarm,
			why: { code: "IDEMPOTENCY_CONFLICT", message: expect.stringContaining(showId(own.row.alarm)) },
		});
	});
});
