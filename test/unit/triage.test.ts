import { FAILURES } from "../../contracts/errors.ts";
import { type Decoded, decodeBatch, encodeItem } from "../../domain/alarms/batch.ts";
import { ID_BYTES, idTimeMs, newAlarmId, showId } from "../../domain/alarms/ids.ts";
import type { Tombstone } from "../../domain/alarms/rows.ts";
import { failed, markFailed, triage, type Whereabouts } from "../../domain/alarms/triage.ts";
import { DAY_MS, iso, NOW_MS, queued, row } from "./samples.ts";

const AT: Whereabouts = { lane: "realtime", streamTimeMs: NOW_MS - 50, sequence: 7, index: 0 };
const MINUTE_MS = 60_000;

function readable(own: Parameters<typeof queued>[0] = {}, timeMs = NOW_MS): Decoded & { id: Buffer } {
	const id = newAlarmId("u1", timeMs);
	return { id, queued: queued(own), line: encodeItem(id, queued(own)).line };
}
const corrupt = (line: string) => decodeBatch(Buffer.from(line))[0] as Decoded;

describe("a readable item", () => {
	test("becomes a row in its own slot", () => {
		const item = readable({ link: "app://x" });
		const decision = triage(item, NOW_MS, AT);
		expect(decision).toMatchObject({ id: item.id, line: item.line, userId: "u1" });
		expect(decision.slot).toMatchObject({ _id: item.id, userId: "u1", link: "app://x", producer: "core-banking" });
	});

	test("with an idempotency key brings along what its key is claimed with", () => {
		const item = readable({ idempotencyKey: "k" });
		expect(triage(item, NOW_MS, AT).keyed).toEqual("queued" in item && item.queued);
		expect(triage(readable(), NOW_MS, AT)).not.toHaveProperty("keyed");
	});

	test("becomes a row however late it comes", () => {
		expect(triage(readable(), NOW_MS + 40 * DAY_MS, AT).slot).toHaveProperty("userId");
	});
});

describe("an id from the future", () => {
	test("is accepted up to a minute", () => {
		expect(triage(readable({}, AT.streamTimeMs + MINUTE_MS), NOW_MS, AT).slot).toHaveProperty("userId");
	});

	test("is judged by the time of the queue: this worker's clock may be wrong", () => {
		const [sound, ahead] = [readable({}, AT.streamTimeMs), readable({}, AT.streamTimeMs + 2 * MINUTE_MS)];
		expect(triage(sound, NOW_MS - DAY_MS, AT).slot).toHaveProperty("userId");
		expect(triage(ahead, NOW_MS + DAY_MS, AT).slot).toMatchObject({ why: { code: "CLOCK_SKEW" } });
	});

	test("ends as CLOCK_SKEW beyond a minute, in its own slot", () => {
		const item = readable({}, AT.streamTimeMs + MINUTE_MS + 1);
		expect(triage(item, NOW_MS, AT).slot).toEqual({
			_id: item.id,
			outcome: "failed",
			why: { code: "CLOCK_SKEW", message: FAILURES.CLOCK_SKEW },
			producer: "core-banking",
			at: new Date(NOW_MS),
		});
	});

	test("is right for an alarm with sendAt", () => {
		const sendAt = iso(NOW_MS + DAY_MS);
		expect(triage(readable({ sendAt }, NOW_MS + DAY_MS), NOW_MS, AT).slot).toMatchObject({ sendAt: new Date(sendAt) });
	});
});

describe("an alarm with expiresAt", () => {
	test("is stored a millisecond before it", () => {
		expect(triage(readable({ expiresAt: iso(NOW_MS + 1) }), NOW_MS, AT).slot).toHaveProperty("userId");
	});

	test("ends as expired at that very moment, which is no failure", () => {
		const item = readable({ expiresAt: iso(NOW_MS) });
		expect(triage(item, NOW_MS, AT)).toEqual({
			id: item.id,
			slot: { _id: item.id, outcome: "expired", producer: "core-banking", at: new Date(NOW_MS) },
			line: item.line,
			userId: "u1",
		});
	});
});

describe("a corrupt item", () => {
	const id = newAlarmId("u1", NOW_MS);
	const line = `${showId(id)} {"broken`;

	test("ends as CORRUPT_ITEM in the slot of its id, with what is wrong and the line as it came", () => {
		const decision = triage(corrupt(line), NOW_MS, AT);
		expect(decision).toMatchObject({ id, line, slot: { _id: id, outcome: "failed", why: { code: "CORRUPT_ITEM" } } });
		expect((decision.slot as Tombstone).why?.message).toMatch(/^The queued item could not be read\. .*JSON/);
	});

	test("names neither customer nor producer: what it says cannot be believed", () => {
		const decision = triage(corrupt(line), NOW_MS, AT);
		expect(decision).not.toHaveProperty("userId");
		expect(decision.slot).not.toHaveProperty("producer");
	});
});

describe("a corrupt item without a readable id", () => {
	const lost = (at = AT, nowMs = NOW_MS) => triage(corrupt("garbage"), nowMs, at);

	test("gets the same slot at every delivery, however late", () => {
		expect(lost(AT, NOW_MS + 40 * DAY_MS).id).toEqual(lost().id);
	});

	test("gets a full id in the month in which the queue took it", () => {
		expect(lost().id).toHaveLength(ID_BYTES);
		expect(idTimeMs(lost().id)).toBe(AT.streamTimeMs);
	});

	test("gets another slot than one of another message", () => {
		expect(lost({ ...AT, sequence: 8 }).id).not.toEqual(lost().id);
		expect(lost({ ...AT, streamTimeMs: AT.streamTimeMs + 1 }).id).not.toEqual(lost().id);
		expect(lost({ ...AT, lane: "bulk" }).id).not.toEqual(lost().id);
	});

	test("gets another slot than its neighbour in the batch", () => {
		expect(lost({ ...AT, index: 1 }).id).not.toEqual(lost().id);
	});

	test("gets a slot also after 2^48 messages", () => {
		expect(lost({ ...AT, sequence: 2 ** 48 + 7 }).id).toHaveLength(ID_BYTES);
	});
});

test("the same item decides the same id at every delivery, whatever it ends as", () => {
	const items = [readable(), readable({ expiresAt: iso(NOW_MS + 5) }), readable({}, NOW_MS + 2 * MINUTE_MS)];
	for (const item of items) {
		for (const nowMs of [NOW_MS, NOW_MS + 10, NOW_MS + 40 * DAY_MS]) {
			const decision = triage(item, nowMs, { ...AT, streamTimeMs: nowMs, sequence: nowMs % 1_000 });
			expect(decision.id).toEqual(item.id);
			expect(decision.slot._id).toEqual(item.id);
		}
	}
});

describe("burying", () => {
	test("an item tells the cause, with the detail if there is one", () => {
		const item = readable();
		expect(failed(item.id, "STORE_REJECTED", item, NOW_MS).slot).toMatchObject({
			why: { code: "STORE_REJECTED", message: FAILURES.STORE_REJECTED },
		});
		expect(failed(item.id, "STORE_REJECTED", item, NOW_MS, "too big").slot).toMatchObject({
			why: { message: `${FAILURES.STORE_REJECTED} too big` },
		});
	});

	test("a row that was decided on keeps its id, line, customer and producer", () => {
		const decision = triage(readable(), NOW_MS, AT);
		expect(markFailed(decision, "MONTH_CLOSED", NOW_MS)).toEqual({
			...decision,
			slot: {
				_id: decision.id,
				outcome: "failed",
				why: { code: "MONTH_CLOSED", message: FAILURES.MONTH_CLOSED },
				producer: "core-banking",
				at: new Date(NOW_MS),
			},
		});
	});

	test("a row keeps nothing of what it said to the customer in the markFailed", () => {
		const { slot } = markFailed({ id: row()._id, slot: row(), line: "" }, "STORE_REJECTED", NOW_MS, "why");
		expect(Object.keys(slot).sort()).toEqual(["_id", "at", "outcome", "producer", "why"]);
	});

	test("a markFailed without a producer makes one without a producer", () => {
		const { slot } = markFailed(triage(corrupt("garbage"), NOW_MS, AT), "MONTH_CLOSED", NOW_MS);
		expect(slot).not.toHaveProperty("producer");
	});
});
