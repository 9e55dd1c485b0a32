import { Errors } from "moleculer";
import ApiGateway from "moleculer-web";
import { RUN_STATES } from "../../contracts/archive.ts";
import { ERRORS, type ErrorCode, Fault } from "../../contracts/errors.ts";
import { ARCHIVE_REQUEST, NEW_ALARM, RUN_QUERY } from "../../contracts/rules.ts";
import { type Problem, toFaults, toProblem } from "../../lib/http/problem.ts";
import { shapeCheck } from "../../lib/http/validate.ts";

const CODES = Object.keys(ERRORS) as ErrorCode[];
const KNOWN_FIELDS = new Set(["type", "title", "status", "code", "detail", "faults", "ids", "retryAfterS"]);
const target = { action: "alarm.query.list", nodeID: "node-7" };
const web = ApiGateway.Errors;

describe("a fault of the contract", () => {
	test.each(CODES)("%s becomes a problem of its own status, title and page", (code) => {
		expect(toProblem(new Fault(code, "What happened."))).toEqual({
			type: `/docs/errors#${code}`,
			title: ERRORS[code].title,
			status: ERRORS[code].status,
			code,
			detail: "What happened.",
		});
	});

	test("says the same when it comes from another node, without its class", () => {
		const { message, type, code, data } = new Fault("OVERLOADED", "Full.", { retryAfterS: 5 });
		const remote = Object.assign(new Error(message), { type, code, data });
		expect(toProblem(remote)).toEqual(toProblem(new Fault("OVERLOADED", "Full.", { retryAfterS: 5 })));
	});

	test("hands on faults, ids and the time to wait, and nothing else of its data", () => {
		const data = { faults: [], ids: ["a"], retryAfterS: 0, cluster: "c0", uri: "mongodb://u:secret@h" };
		const problem = toProblem(new Fault("UNAVAILABLE", "Away.", data));
		expect(problem).toMatchObject({ faults: [], ids: ["a"], retryAfterS: 0 });
		expect(Object.keys(problem).filter((field) => !KNOWN_FIELDS.has(field))).toEqual([]);
	});

	test("keeps its cause to itself", () => {
		const fault = new Fault("UNAVAILABLE", "Away.");
		fault.cause = new Error("connect ECONNREFUSED 10.0.0.7");
		expect(JSON.stringify(toProblem(fault))).not.toContain("10.0.0.7");
	});
});

describe("an error of Moleculer", () => {
	test.each<[string, Error, ErrorCode]>([
		["a service that is nowhere", new Errors.ServiceNotFoundError(target), "UNAVAILABLE"],
		["a service that is on no node", new Errors.ServiceNotAvailableError(target), "UNAVAILABLE"],
		["a call that timed out", new Errors.RequestTimeoutError(target), "UNAVAILABLE"],
		["a call that was skipped for lack of time", new Errors.RequestSkippedError(target), "UNAVAILABLE"],
		["a call that was rejected", new Errors.RequestRejectedError(target), "UNAVAILABLE"],
		["a full bulkhead", new Errors.QueueIsFullError({ ...target, size: 1, limit: 1 }), "UNAVAILABLE"],
		["params of a wrong shape", new Errors.ValidationError("no", "VALIDATION_ERROR", []), "VALIDATION_FAILED"],
		["too many levels of calls", new Errors.MaxCallLevelError({ ...target, level: 9 }), "INTERNAL"],
		["a schema that is wrong", new Errors.ServiceSchemaError("no", {}), "INTERNAL"],
		["options that are wrong", new Errors.BrokerOptionsError("no", {}), "INTERNAL"],
		["a packet that is wrong", new Errors.InvalidPacketDataError({}), "INTERNAL"],
		["another protocol", new Errors.ProtocolVersionMismatchError({}), "INTERNAL"],
		["an error without a type", new Errors.MoleculerError("mongodb://u:secret@h"), "INTERNAL"],
	])("that is %s", (_, error, code) => {
		const problem = toProblem(error, "alarm.query.list");
		expect(problem.code).toBe(code);
		expect(JSON.stringify(problem)).not.toMatch(/node-7|alarm\.query|secret/);
	});

	test("that means a part is away says when to come again", () => {
		expect(toProblem(new Errors.ServiceNotFoundError(target)).retryAfterS).toBe(1);
	});

	test.each(["alarm.create.submit", "alarm.create.bulk"])(
		"that is a timeout of %s leaves acceptance unknown",
		(action) => {
			const problem = toProblem(new Errors.RequestTimeoutError({ action, nodeID: "node-7" }), action);
			expect(problem).toMatchObject({ code: "ACCEPTANCE_UNKNOWN", status: 503, retryAfterS: 2 });
		},
	);

	test("that is a timeout of a read, or of nobody knows what, is only a part that is away", () => {
		const error = new Errors.RequestTimeoutError(target);
		expect(toProblem(error, "alarm.query.list").code).toBe("UNAVAILABLE");
		expect(toProblem(error).code).toBe("UNAVAILABLE");
	});
});

describe("an error of moleculer-web", () => {
	test.each<[string, Error, ErrorCode]>([
		["an address that is not there", new web.NotFoundError("NOT_FOUND", {}), "NOT_FOUND"],
		[
			"an address that cannot be decoded",
			new web.BadRequestError("UNABLE_DECODE_PARAM", { param: "%" }),
			"BAD_REQUEST",
		],
	])("that is %s", (_, error, code) => {
		expect(toProblem(error)).toMatchObject({ code, status: ERRORS[code].status });
	});
});

describe("an unknown error", () => {
	const secret = "E11000 dup key { title: 'salary' } at mongodb://u:pw@10.0.0.7";
	const leaky = Object.assign(new Error(secret), {
		type: "MongoServerError",
		code: 11_000,
		data: { secret, faults: [{ field: secret }], ids: [secret] },
		cluster: secret,
	});

	test.each<[string, unknown]>([
		["an error with data", leaky],
		["a plain error", new Error(secret)],
		["an error that claims a status of its own", Object.assign(new Error(secret), { code: 418 })],
		["a type that is no text", { type: 7, message: secret }],
		["a type that every object has", { type: "constructor", message: secret }],
		["a text", secret],
		["a number", 7],
	])("that is %s leaks nothing", (_, error) => {
		const problem: Problem = toProblem(error);
		expect(problem).toEqual({
			type: "/docs/errors#INTERNAL",
			title: ERRORS.INTERNAL.title,
			status: 500,
			code: "INTERNAL",
			detail: "Something went wrong on our side; it has been logged.",
		});
	});

	test("that says 404 or 400 leaks nothing either", () => {
		for (const code of [404, 400]) {
			expect(JSON.stringify(toProblem(Object.assign(leaky, { code })))).not.toContain("salary");
		}
	});
});

test("no problem carries a stack", () => {
	for (const code of CODES)
		expect(JSON.stringify(toProblem(new Fault(code, "x")))).not.toMatch(/\bat .*:\d+:\d+|stack/);
});

describe("the report of the validator", () => {
	test("becomes one fault per unknown field", () => {
		expect(toFaults([{ type: "objectStrict", actual: "a, b", expected: "userId" }])).toEqual([
			{ field: "a", rule: "unknown", message: 'There is no field "a".' },
			{ field: "b", rule: "unknown", message: 'There is no field "b".' },
		]);
	});

	test("tells what was given and what was expected", () => {
		expect(
			toFaults([{ type: "stringMax", field: "link", message: "Too long.", actual: 3_000, expected: 2_048 }]),
		).toEqual([{ field: "link", rule: "stringMax", message: "Too long. (given: 3000; expected: 2048)" }]);
	});

	test("says in words what a pattern or a list of values asks for", () => {
		const [month, state] = [
			shapeCheck(ARCHIVE_REQUEST)({ month: "2026-13" }),
			shapeCheck(RUN_QUERY)({ state: "open" }),
		].flat();
		expect(month?.message).toBe(`The 'month' field must be a month like 2026_08. (given: "2026-13")`);
		expect(state?.message).toBe(`The 'state' field must be one of these: ${RUN_STATES.join(", ")}. (given: "open")`);
	});

	test("has words of our own for every pattern", () => {
		const wrong = { userId: " ", category: " ", link: " ", locale: " ", sendAt: " ", idempotencyKey: " " };
		const faults = shapeCheck(NEW_ALARM)(wrong).filter(({ rule }) => rule === "stringPattern");
		expect(faults.map(({ field }) => field).sort()).toEqual(Object.keys(wrong).sort());
		for (const { message } of faults) expect(message).not.toContain("required pattern");
	});

	test("does not speak of a value when there is none", () => {
		expect(toFaults([{ type: "required", field: "userId", message: "It is required." }])).toEqual([
			{ field: "userId", rule: "required", message: "It is required." },
		]);
	});

	test("shortens a long value", () => {
		const [fault] = toFaults([{ type: "string", field: "f", message: "m", actual: "x".repeat(10_000) }]);
		expect(fault?.message.length).toBeLessThan(120);
		expect(fault?.message).toContain("…");
	});

	test.each([undefined, null, "text", {}])("that is %j has no faults", (report) => {
		expect(toFaults(report)).toEqual([]);
	});
});

test.each([
	["a service that is on no node", { name: "ServiceUnavailableError", code: 503 }],
	["a bus that is down", { type: "BAD_GATEWAY", code: 502 }],
])("%s is UNAVAILABLE, not our mistake", (_what, error) => {
	expect(toProblem(error, "alarm.query.list").code).toBe("UNAVAILABLE");
});

test("a creation whose node died may have been accepted", () => {
	expect(toProblem({ type: "REQUEST_REJECTED", code: 503 }, "alarm.create.submit").code).toBe("ACCEPTANCE_UNKNOWN");
});

test.each([undefined, null, "text", { type: "UNAVAILABLE", data: null }])(
	"whatever is thrown has a problem: %j",
	(error) => {
		expect(toProblem(error).status).toBeGreaterThanOrEqual(500);
	},
);
