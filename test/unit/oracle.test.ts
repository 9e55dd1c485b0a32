import {
	brokenAfterDrain,
	brokenPromises,
	classify,
	classifyItem,
	classifySilence,
	countDuplicates,
	type Held,
	type Marked,
	type Sent,
} from "../support/oracle.ts";

/** Fault suites are worth what their oracle sees. */

const ID = "A".repeat(27);
const OTHER_ID = `${"B".repeat(26)}A`;
const alarm: Marked = { userId: "u1", category: "card", title: "t", body: "b", data: { a: 1, mark: "m1" } };
const ok: Sent = { alarm, told: { is: "ok", id: ID } };
const refused: Sent = { alarm, told: { is: "refused", why: "503 OVERLOADED" } };
const unknown: Sent = { alarm, told: { is: "unknown", why: "ECONNRESET" } };
const row = (more: object = {}, id = ID) => ({
	_id: Buffer.from(id, "base64url"),
	...alarm,
	producer: "demo",
	...more,
});

test("promises that are kept are not reported", () => {
	expect(brokenPromises([ok], [row({ data: { mark: "m1", a: 1 } })])).toEqual([]);
	expect(brokenPromises([refused], [])).toEqual([]);
	expect(brokenPromises([unknown], [])).toEqual([]);
	expect(brokenPromises([unknown], [row()])).toEqual([]);
});

test("a moment compares as a moment", () => {
	const timed = { alarm: { ...alarm, occurredAt: "2026-11-02T00:00:00Z" }, told: ok.told };
	expect(brokenPromises([timed], [row({ occurredAt: new Date("2026-11-02T00:00:00.000Z") })])).toEqual([]);
	expect(brokenPromises([timed], [row({ occurredAt: new Date("2026-11-02T00:00:00.001Z") })])).toHaveLength(1);
});

test.each([
	["lost", [ok], []],
	["lost behind a tombstone", [ok], [{ _id: row()._id, outcome: "failed" }]],
	["stored twice", [ok], [row(), row()]],
	["stored a second time under another id", [ok], [row(), row({}, OTHER_ID)]],
	["stored under another id", [ok], [row({}, OTHER_ID)]],
	["stored with another body", [ok], [row({ body: "c" })]],
	["stored without its data", [ok], [row({ data: { mark: "m1" } })]],
	["stored for somebody else", [ok], [row({ userId: "u2" })]],
	["refused and stored", [refused], [row()]],
	["unknown and stored twice", [unknown], [row(), row({}, OTHER_ID)]],
	["unknown by one id and stored by another", [{ alarm, told: { ...unknown.told, id: OTHER_ID } as const }], [row()]],
	["never sent", [], [row()]],
])("an alarm that is %s is reported", (_what, sent, rows) => {
	expect(brokenPromises(sent, rows)).not.toEqual([]);
});

test("an id that was given to two alarms is reported", () => {
	const second = { alarm: { ...alarm, data: { mark: "m2" } }, told: ok.told };
	expect(brokenPromises([ok, second], [row()])).toContain(`${ID} was given to two alarms`);
});

test.each([
	[202, { id: ID }, { is: "ok", id: ID }],
	[202, {}, { is: "unknown" }],
	[422, { code: "VALIDATION_FAILED" }, { is: "refused" }],
	[503, { code: "OVERLOADED" }, { is: "refused" }],
	[503, { code: "ACCEPTANCE_UNKNOWN", ids: [ID] }, { is: "unknown", id: ID }],
	[503, { code: "UNAVAILABLE" }, { is: "unknown" }],
	[500, null, { is: "unknown" }],
])("status %i with %j is told as %j", (status, body, told) => {
	expect(classify({ status, body })).toMatchObject(told);
});

test("no answer is a refusal only when there was no connection", () => {
	expect(classifySilence({ cause: { code: "ECONNREFUSED" } })).toMatchObject({ is: "refused" });
	expect(classifySilence({ cause: { code: "ECONNRESET" } })).toMatchObject({ is: "unknown" });
	expect(classifySilence(new SyntaxError("Unexpected end of JSON input"))).toMatchObject({ is: "unknown" });
});

test.each([
	[202, { items: [{ id: ID }] }, { is: "ok", id: ID }],
	[207, { items: [{ error: { code: "ACCEPTANCE_UNKNOWN", ids: [ID] } }] }, { is: "unknown", id: ID }],
	[207, { items: [{ error: { code: "INTERNAL" } }] }, { is: "unknown" }],
	[207, { items: [{ error: { code: "OVERLOADED" } }] }, { is: "refused" }],
	[207, { items: [{ error: { code: "VALIDATION_FAILED" } }] }, { is: "refused" }],
	[503, { code: "OVERLOADED" }, { is: "refused" }],
	[503, null, { is: "unknown" }],
])("an item of a bulk answer, status %i with %j, is told as %j", (status, body, told) => {
	expect(classifyItem({ status, body }, 0)).toMatchObject(told);
});

const bytes = (id: string) => Buffer.from(id, "base64url");

describe("an alarm that is sent again with its key", () => {
	const keyed = { ...alarm, idempotencyKey: "k1" };
	const first: Sent = { alarm: keyed, told: { is: "ok", id: ID } };
	const again: Sent = { alarm: keyed, told: { is: "ok", id: OTHER_ID } };
	const stored = row({ idempotencyKey: "k1" });
	const duplicate = { _id: bytes(OTHER_ID), outcome: "duplicate", of: bytes(ID) };

	test("is right when one is stored and the other is its duplicate", () => {
		expect(brokenPromises([first, again], [stored, duplicate])).toEqual([]);
		expect(
			brokenPromises([{ alarm: keyed, told: { is: "unknown", why: "ECONNRESET", id: OTHER_ID } }, first], [stored]),
		).toEqual([]);
	});

	test.each([
		["both are stored", [stored, { ...stored, _id: bytes(OTHER_ID) }]],
		["the other has no slot", [stored]],
		["none is stored", [duplicate]],
		["the other is the duplicate of something else", [stored, { ...duplicate, of: bytes("C".repeat(27)) }]],
		["the other is a duplicate of nothing", [stored, { _id: bytes(OTHER_ID), outcome: "duplicate" }]],
		["the other failed", [stored, { _id: bytes(OTHER_ID), outcome: "failed" }]],
	])("is reported when %s", (_what, rows) => {
		expect(brokenPromises([first, again], rows)).not.toEqual([]);
	});

	test("without a key nothing may be a duplicate", () => {
		const bare = [first, again].map((one) => ({ ...one, alarm }));
		expect(brokenPromises(bare, [row(), duplicate])).not.toEqual([]);
	});
});

describe("what is held after the drain", () => {
	const held = (more: Partial<Held> = {}): Held => ({
		...{ months: [row()], failures: [], keys: [], outbox: [], queued: {} },
		...more,
	});
	const tombstone = { _id: bytes(ID), outcome: "failed", why: { code: "CORRUPT_ITEM" } };
	const failure = { _id: bytes(ID), code: "CORRUPT_ITEM", message: "m" };

	test("is right when all is stored and nothing is on its way", () => {
		expect(brokenAfterDrain([ok], held())).toEqual([]);
		expect(brokenAfterDrain([ok], held({ keys: [{ alarm: bytes(ID) }] }))).toEqual([]);
	});

	test("is right when what was to fail has failed, and is listed", () => {
		const toFail: Sent = { ...ok, ends: "failed" };
		expect(brokenAfterDrain([toFail], held({ months: [tombstone], failures: [failure] }))).toEqual([]);
		// A month that is closed has no slot.
		expect(brokenAfterDrain([toFail], held({ months: [], failures: [failure] }))).toEqual([]);
		expect(brokenAfterDrain([toFail], held({ months: [tombstone] }))).not.toEqual([]);
		expect(brokenAfterDrain([toFail], held({ failures: [failure] }))).not.toEqual([]);
		expect(brokenAfterDrain([toFail], held({ months: [tombstone], failures: [failure, failure] }))).not.toEqual([]);
	});

	test.each<[string, Partial<Held>]>([
		["a failure that was none", { failures: [failure] }],
		["a key of an alarm that is nowhere", { keys: [{ alarm: bytes(OTHER_ID) }] }],
		["a batch in the outbox", { outbox: [{ _id: "1:e:1" }] }],
		["a message in the queue", { queued: { "alarm.bulk.batch": 1 } }],
	])("is reported when it has %s", (_what, more) => {
		expect(brokenAfterDrain([ok], held(more))).not.toEqual([]);
	});

	test("is reported when one key made two alarms", () => {
		const keyed = { ...alarm, idempotencyKey: "k" };
		const sent: Sent[] = [
			{ alarm: keyed, told: ok.told },
			{ alarm: { ...keyed, data: { mark: "m2" } }, told: { is: "ok", id: OTHER_ID } },
		];
		const months = sent.map(({ alarm: one, told }) => ({
			...one,
			producer: "demo",
			_id: bytes("id" in told ? `${told.id}` : ""),
		}));
		expect(brokenAfterDrain(sent, held({ months }))).toEqual([expect.stringContaining("made 2 alarms")]);
	});

	test("its duplicates are counted", () => {
		expect(countDuplicates(held({ months: [row(), tombstone, { ...tombstone, outcome: "duplicate" }] }))).toBe(1);
	});
});
