import { brokenPromises, classify, classifySilence, type Marked, type Sent } from "../support/oracle.ts";

/** Fault suites are worth what their oracle sees. */

const ID = "A".repeat(27);
const OTHER_ID = "B".repeat(27);
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
