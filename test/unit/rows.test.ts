import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import { isTombstone, type Tombstone, toInbox, toRow, toStatus } from "../../domain/alarms/rows.ts";
import { DAY_MS, iso, NOW_MS, queued, row } from "./samples.ts";

const id = newAlarmId("u1", NOW_MS);

describe("the row of a queued alarm", () => {
	test("carries the id, the producer and what the customer is to read", () => {
		expect(toRow(id, queued())).toEqual({
			_id: id,
			userId: "u1",
			category: "transfer",
			title: "입금",
			body: "10,000원이 들어왔어요",
			producer: "core-banking",
		});
	});

	test("carries every optional field, moments as dates", () => {
		const moments = { occurredAt: iso(NOW_MS - 3), sendAt: iso(NOW_MS + 1), expiresAt: iso(NOW_MS + 2) };
		const more = { link: "app://transfers/1", data: { amount: 1 }, idempotencyKey: "k1" };
		expect(toRow(id, queued({ ...moments, ...more }))).toMatchObject({
			...more,
			occurredAt: new Date(NOW_MS - 3),
			sendAt: new Date(NOW_MS + 1),
			expiresAt: new Date(NOW_MS + 2),
		});
	});

	test("has no field that was not sent: an undefined would be stored as null", () => {
		expect(Object.values(toRow(id, queued()))).not.toContain(undefined);
		expect(Object.keys(toRow(id, queued()))).toHaveLength(6);
	});

	test("is no tombstone, and a tombstone is no row", () => {
		expect(isTombstone(toRow(id, queued()))).toBe(false);
		expect(isTombstone({ _id: id, outcome: "failed", at: new Date(NOW_MS) })).toBe(true);
	});
});

describe("an alarm as the inbox shows it", () => {
	test("keeps what is not the customer's to itself", () => {
		const shown = toInbox(row({ idempotencyKey: "k", hidden: true, expiresAt: new Date(NOW_MS) }), false);
		expect(Object.keys(shown).sort()).toEqual(["body", "category", "createdAt", "id", "read", "title"]);
	});

	test("was created when its id says", () => {
		expect(toInbox(row({ _id: id }), false)).toMatchObject({ id: showId(id), createdAt: iso(NOW_MS) });
	});

	test("shows link, data and the moment it is about", () => {
		const shown = toInbox(row({ link: "app://x", data: { a: [1] }, occurredAt: new Date(NOW_MS) }), false);
		expect(shown).toMatchObject({ link: "app://x", data: { a: [1] }, occurredAt: iso(NOW_MS) });
	});

	test("tells when it was read, if it was read by itself", () => {
		expect(toInbox(row({ readAt: new Date(NOW_MS) }), true)).toMatchObject({ read: true, readAt: iso(NOW_MS) });
	});

	test("reads as read behind a watermark without a moment of its own", () => {
		expect(toInbox(row(), true)).not.toHaveProperty("readAt");
	});

	test("that was marked unread again has no moment of reading", () => {
		expect(toInbox(row({ readAt: new Date(NOW_MS) }), false)).not.toHaveProperty("readAt");
	});
});

describe("the status of an id", () => {
	const tombstone: Tombstone = { _id: id, outcome: "failed", producer: "core-banking", at: new Date(NOW_MS) };

	test("is pending while its slot is free", () => {
		expect(toStatus(id, null)).toEqual({ id: showId(id), status: "pending", acceptedAt: iso(NOW_MS) });
	});

	test("is stored when an alarm stands in its slot", () => {
		expect(toStatus(id, row({ _id: id })).status).toBe("stored");
	});

	test("is the tombstone's outcome, with its cause", () => {
		const why = { code: "CLOCK_SKEW", message: "ahead" };
		expect(toStatus(id, { ...tombstone, why })).toMatchObject({ status: "failed", why });
	});

	test("of a duplicate names the alarm it repeats, as text", () => {
		const of = newAlarmId("u1", NOW_MS - 1);
		expect(toStatus(id, { ...tombstone, outcome: "duplicate", of })).toMatchObject({
			status: "duplicate",
			of: showId(of),
		});
	});

	test("tells nothing of the producer or of what the alarm says", () => {
		expect(Object.keys(toStatus(id, tombstone)).sort()).toEqual(["acceptedAt", "id", "status"]);
		expect(Object.keys(toStatus(id, row({ _id: id }))).sort()).toEqual(["acceptedAt", "id", "status"]);
	});
});

test("the status of an alarm for later tells when it was accepted, not when it is sent", () => {
	const sendAt = iso(NOW_MS + DAY_MS);
	const id = newAlarmId("u1", NOW_MS + DAY_MS);
	expect(toStatus(id, toRow(id, queued({ sendAt }))).acceptedAt).toBe(iso(NOW_MS));
});
