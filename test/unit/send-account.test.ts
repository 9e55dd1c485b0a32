import { giveUp, judgeBulk, judgeSingle, judgeStatus, mustHalve, type Reply } from "../../ops/send/replies.ts";
import { acceptedPerSecond, type Course, Reconciliation, whatIsWrong } from "../../ops/send/send-account.ts";

const answer = (status: number, body: unknown, retryAfterS?: number): Reply => ({
	kind: "answer",
	status,
	body,
	...(retryAfterS !== undefined && { retryAfterS }),
});
const rejection = { code: "VALIDATION_FAILED", message: "no" };
const smooth: Course = { sendingMs: 2_000, settledAfterMs: 3_000, interrupted: false };

describe("a reply to a single alarm", () => {
	test("202 with an id is accepted", () => {
		expect(judgeSingle(answer(202, { id: "a" }))).toEqual({ kind: "accepted", id: "a" });
	});

	test("a success without an id is unknown, because something may have been accepted", () => {
		expect(judgeSingle(answer(200, "<html>"))).toMatchObject({ kind: "unknown", ids: [] });
	});

	test("4xx is rejected, with the service's code and faults", () => {
		const faults = [{ field: "title", rule: "required", message: "is missing" }];
		const reply = answer(422, { code: "VALIDATION_FAILED", detail: "Some fields", faults });
		const expected = { code: "VALIDATION_FAILED", message: "Some fields", faults };
		expect(judgeSingle(reply)).toEqual({ kind: "rejected", rejection: expected });
	});

	test("4xx of a stranger is rejected under its status", () => {
		expect(judgeSingle(answer(403, null))).toMatchObject({ kind: "rejected", rejection: { code: "HTTP_403" } });
	});

	test.each([
		["503 OVERLOADED", answer(503, { code: "OVERLOADED" }, 5), 5_000],
		["429", answer(429, null, 2), 2_000],
		["429 that names no time", answer(429, null), 1_000],
		["429 that says at once", answer(429, null, 0), 100],
		["429 that says tomorrow", answer(429, null, 86_400), 30_000],
	])("%s is sent again after a while", (_, reply, pauseMs) => {
		expect(judgeSingle(reply)).toMatchObject({ kind: "retry", pauseMs });
	});

	test("ACCEPTANCE_UNKNOWN is unknown, with its ids", () => {
		const reply = answer(503, { code: "ACCEPTANCE_UNKNOWN", ids: ["a"] }, 2);
		expect(judgeSingle(reply)).toMatchObject({ kind: "unknown", ids: ["a"], pauseMs: 2_000 });
	});

	test.each([500, 502, 503])("any other %d is unknown", (status) => {
		expect(judgeSingle(answer(status, { code: "UNAVAILABLE" }))).toMatchObject({ kind: "unknown" });
	});

	test("a request that may have arrived is unknown; one that never left is sent again", () => {
		expect(judgeSingle({ kind: "none", reached: true, cause: "ECONNRESET" }).kind).toBe("unknown");
		expect(judgeSingle({ kind: "none", reached: false, cause: "ECONNREFUSED" }).kind).toBe("retry");
	});

	test("who is given up was refused, not lost", () => {
		expect(giveUp({ rejection })).toEqual({ kind: "rejected", rejection });
	});
});

describe("a reply to many alarms", () => {
	test("each item has its own verdict, in order", () => {
		const items = [
			{ id: "a" },
			{ error: { code: "VALIDATION_FAILED", message: "no" } },
			{ error: { code: "ACCEPTANCE_UNKNOWN", message: "late", ids: ["c"] } },
			{ error: { code: "OVERLOADED", message: "later" } },
			{ error: { code: "NEVER_HEARD_OF", message: "?" } },
			null,
		];
		const verdicts = judgeBulk(answer(207, { items }), 6);
		expect(verdicts.map(({ kind }) => kind)).toEqual([
			"accepted",
			"rejected",
			"unknown",
			"retry",
			"unknown",
			"unknown",
		]);
		expect(verdicts[1]).toEqual({ kind: "rejected", rejection });
		expect(verdicts[2]).toMatchObject({ ids: ["c"] });
	});

	test("an answer with another number of items says nothing of any of them", () => {
		const verdicts = judgeBulk(answer(202, { items: [{ id: "a" }] }), 2);
		expect(verdicts.map(({ kind }) => kind)).toEqual(["unknown", "unknown"]);
	});

	test("an overloaded service has taken none of them", () => {
		const verdicts = judgeBulk(answer(503, { code: "OVERLOADED" }, 1), 3);
		expect(verdicts.map(({ kind }) => kind)).toEqual(["retry", "retry", "retry"]);
	});

	test("ids of an unknown request go to their lines, or to the first when they cannot be told apart", () => {
		const idsOf = (ids: string[]) =>
			judgeBulk(answer(503, { code: "ACCEPTANCE_UNKNOWN", ids }), 2).map((verdict) => "ids" in verdict && verdict.ids);
		expect(idsOf(["a", "b"])).toEqual([["a"], ["b"]]);
		expect(idsOf(["a", "b", "c"])).toEqual([["a", "b", "c"], []]);
	});

	test("a request refused for what it holds is halved, until one line is left", () => {
		expect(mustHalve(answer(413, null), 2)).toBe(true);
		expect(mustHalve(answer(413, null), 1)).toBe(false);
		expect(mustHalve(answer(401, null), 2)).toBe(false);
		expect(mustHalve(answer(503, null), 2)).toBe(false);
		expect(mustHalve({ kind: "none", reached: false, cause: "" }, 2)).toBe(false);
	});
});

describe("a status", () => {
	test.each(["pending", "stored", "failed", "duplicate", "expired", "canceled"])("%s is taken as told", (status) => {
		expect(judgeStatus(answer(200, { id: "a", status }))).toBe(status);
	});

	test("only the service's own word makes an id missing", () => {
		expect(judgeStatus(answer(404, { code: "UNKNOWN_ALARM" }))).toBe("missing");
		expect(judgeStatus(answer(404, { code: "NOT_FOUND" }))).toBe("unanswered");
		expect(judgeStatus(answer(404, "<html>"))).toBe("unanswered");
	});

	test("anything else is no answer", () => {
		expect(judgeStatus(answer(503, { code: "UNAVAILABLE" }))).toBe("unanswered");
		expect(judgeStatus(answer(200, { status: "missing?" }))).toBe("unanswered");
		expect(judgeStatus({ kind: "none", reached: true, cause: "" })).toBe("unanswered");
	});
});

describe("the account", () => {
	test("is right when every line was accepted and stored", () => {
		const book = new Reconciliation();
		for (const [line, id] of ["a", "b"].entries()) book.noteLine(line + 1, { kind: "accepted", id });
		for (const id of ["a", "b"]) book.noteFate(id, "stored");
		expect(book.account()).toMatchObject({ lines: 2, sent: 2, accepted: 2, stored: 2, missing: 0, complaints: [] });
		expect(book.openIds.size).toBe(0);
		expect(whatIsWrong(book.account(), smooth)).toEqual([]);
	});

	test("sent is accepted, rejected and unknown; invalid lines are lines that were not sent", () => {
		const book = new Reconciliation();
		book.noteLine(1, { kind: "accepted", id: "a" });
		book.noteLine(2, { kind: "rejected", rejection });
		book.noteLine(3, { kind: "unknown", rejection, ids: [], pauseMs: 0 });
		book.noteInvalid(4, "Unexpected end");
		const account = book.account();
		expect(account).toMatchObject({ lines: 4, sent: 3, accepted: 1, rejected: 1, unknown: 1, invalid: 1 });
		expect(account.rejectedByCode).toEqual({ VALIDATION_FAILED: 1 });
		expect(account.complaints.map(({ line, what }) => [line, what])).toEqual([
			[2, "rejected"],
			[3, "unknown"],
			[4, "invalid"],
		]);
	});

	test("an id that is not at an end counts by its last answer", () => {
		const book = new Reconciliation();
		for (const id of ["a", "b", "c"]) book.noteLine(1, { kind: "accepted", id });
		book.noteFate("a", "pending");
		book.noteFate("b", "unanswered");
		book.noteFate("b", "pending");
		expect(book.account()).toMatchObject({ pending: 2, unanswered: 1 });
		book.noteFate("a", "stored");
		expect(book.account()).toMatchObject({ pending: 1, unanswered: 1, stored: 1 });
	});

	test("an id ends once", () => {
		const book = new Reconciliation();
		book.noteLine(1, { kind: "accepted", id: "a" });
		book.noteFate("a", "stored");
		book.noteFate("a", "missing");
		expect(book.account()).toMatchObject({ stored: 1, missing: 0 });
	});

	test("an id given to two lines is a duplicate id, and asked for once", () => {
		const book = new Reconciliation();
		book.noteLine(1, { kind: "accepted", id: "a" });
		book.noteLine(2, { kind: "accepted", id: "a" });
		expect(book.openIds.size).toBe(1);
		expect(book.account()).toMatchObject({ accepted: 2, duplicateIds: 1 });
		expect(whatIsWrong(book.account(), smooth)).toEqual(["1 duplicate ids", "of 1 accepted the status is not known"]);
	});

	test("ids whose acceptance is unknown are asked for, but counted apart: they need not be there", () => {
		const book = new Reconciliation();
		book.noteLine(1, { kind: "unknown", rejection, ids: ["a"], pauseMs: 0 });
		book.noteLine(2, { kind: "unknown", rejection, ids: ["b"], pauseMs: 0 });
		book.noteFate("a", "missing");
		book.noteFate("b", "stored");
		expect(book.account()).toMatchObject({ missing: 0, stored: 0, ofUnknown: { missing: 1, stored: 1 } });
		expect(whatIsWrong(book.account(), smooth)).toEqual(["2 unknown"]);
	});

	test("a loss names its line and id, and why", () => {
		const book = new Reconciliation();
		book.noteLine(7, { kind: "accepted", id: "a" });
		book.noteFate("a", "failed", { code: "MONTH_CLOSED", message: "closed" });
		expect(book.account().complaints).toEqual([
			{ what: "failed", line: 7, id: "a", code: "MONTH_CLOSED", message: "closed" },
		]);
	});

	test("keeps the first complaints of each kind, however many there are", () => {
		const book = new Reconciliation();
		for (let line = 1; line <= 1_000; line++) book.noteLine(line, { kind: "rejected", rejection });
		book.noteInvalid(1_001, "broken");
		const { complaints, rejected } = book.account();
		expect(rejected).toBe(1_000);
		expect(complaints.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5, 1_001]);
	});

	test("what is known may be asked for at any time, and does not change afterwards", () => {
		const book = new Reconciliation();
		const before = book.account();
		book.noteLine(1, { kind: "accepted", id: "a" });
		expect(before).toMatchObject({ lines: 0, accepted: 0, unanswered: 0 });
	});
});

describe("the verdict", () => {
	test("names what is worst first", () => {
		const account = { ...new Reconciliation().account(), lines: 9, missing: 1, pending: 2, rejected: 3 };
		expect(whatIsWrong(account, smooth)).toEqual(["1 missing", "3 rejected", "2 still pending"]);
	});

	test("duplicate, expired and canceled are good ends", () => {
		const account = { ...new Reconciliation().account(), lines: 3, duplicate: 1, expired: 1, canceled: 1 };
		expect(whatIsWrong(account, smooth)).toEqual([]);
	});

	test("an empty file and an interrupted sending are not right", () => {
		const account = new Reconciliation().account();
		expect(whatIsWrong(account, smooth)).toEqual(["there was no line to send"]);
		expect(whatIsWrong({ ...account, lines: 1 }, { ...smooth, interrupted: true })).toEqual(["interrupted"]);
	});

	test("the rate is that of sending, and 0 when no time has passed", () => {
		const account = { ...new Reconciliation().account(), accepted: 300 };
		expect(acceptedPerSecond(account, smooth)).toBe(150);
		expect(acceptedPerSecond(account, { ...smooth, sendingMs: 0 })).toBe(0);
	});
});
