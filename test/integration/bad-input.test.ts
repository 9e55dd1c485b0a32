import { request } from "node:http";
import { realNowMs } from "../support/now.ts";
import { type Reply, type Rest, restClient } from "../support/rest.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let url: string;
let producer: Rest;
let customer: Rest;

beforeAll(async () => {
	system = await startSystem();
	url = urlOf(await system.run("gateway,alarm.create,alarm.query,shard.router"));
	producer = restClient(url, system.keys.producerKey);
	customer = restClient(url, await system.tokenOf("u1"));
});
afterAll(() => system?.stop());

const good = { userId: "u1", category: "card", title: "t", body: "b" };

function expectProblem({ status, body, headers }: Reply, wantedStatus: number, code: string): void {
	expect({ status, code: body?.code }).toEqual({ status: wantedStatus, code });
	expect(headers.get("content-type")).toMatch(/^application\/problem\+json/);
	expect(body).toMatchObject({
		type: `/docs/errors#${code}`,
		title: expect.any(String),
		status: wantedStatus,
		detail: expect.any(String),
	});
	expect(JSON.stringify(body)).not.toMatch(/ at .*\.[jt]s|node_modules|nodeID/);
}

describe("a new alarm with a fault is refused, naming the field", () => {
	const faulty: [what: string, field: string, alarm: object][] = [
		["without a customer", "userId", { ...good, userId: undefined }],
		["with a customer of another type", "userId", { ...good, userId: 7 }],
		["with an operator in place of a customer", "userId", { ...good, userId: { $ne: "" } }],
		["with an unknown field", "colour", { ...good, colour: "red" }],
		["without a title", "title", { ...good, title: undefined }],
		["with a title of 201 characters", "title", { ...good, title: "가".repeat(201) }],
		["with a body of too many bytes", "body", { ...good, body: "🎉".repeat(3_500) }],
		["with data of over 8 KB", "data", { ...good, data: { x: "x".repeat(8_192) } }],
		["with data that is a list", "data", { ...good, data: [1] }],
		["with data nested 11 deep", "data.a.a.a.a.a.a.a.a.a.a", { ...good, data: nested(11) }],
		["with an operator in its data", "data.a", { ...good, data: { a: { $set: 1 } } }],
		["with a type of the driver in its data", "data.a", { ...good, data: { a: { _bsontype: "Long" } } }],
		["with a dotted key in its data", "data", { ...good, data: { "a.b": 1 } }],
		["with a lane that is none", "lane", { ...good, lane: "fast" }],
		["with a moment that is none", "occurredAt", { ...good, occurredAt: "yesterday" }],
		["with a day that does not exist", "occurredAt", { ...good, occurredAt: "2026-13-41T00:00:00Z" }],
		["to be sent in the past", "sendAt", { ...good, sendAt: "2020-01-01T00:00:00Z" }],
		["that is expired", "expiresAt", { ...good, expiresAt: "2020-01-01T00:00:00Z" }],
		["with a link that runs script", "link", { ...good, link: "javascript://%0aalert(1)" }],
		["with a control character", "body", { ...good, body: "a\u0000b" }],
	];
	test.each(faulty)("%s", async (_what, field, alarm) => {
		const reply = await producer("POST", "/v1/alarms", alarm);
		expectProblem(reply, 422, "VALIDATION_FAILED");
		expect(reply.body.faults).toEqual([{ field, rule: expect.any(String), message: expect.any(String) }]);
	});

	test("all faults come together", async () => {
		const { body } = await producer("POST", "/v1/alarms", { userId: 1, category: "CARD", lane: "x", strange: 1 });
		expect(body.faults.map(({ field }: { field: string }) => field).sort()).toEqual([
			"category",
			"lane",
			"strange",
			"userId",
		]);
	});

	function nested(depth: number): object {
		return depth === 1 ? { end: 1 } : { a: nested(depth - 1) };
	}
});

describe("what is nested thousands deep is refused and ends no process", () => {
	const deep = "[".repeat(8_000) + "]".repeat(8_000);
	test.each([
		["a bulk request that is no list", "POST", "/v1/alarms/bulk", `{"alarms":{"a":${deep}}}`, () => producer],
		["an item", "POST", "/v1/alarms/bulk", `{"alarms":[{"title":${deep}}]}`, () => producer],
		["a field of an alarm", "POST", "/v1/alarms", `{"userId":${deep}}`, () => producer],
		[
			"its data",
			"POST",
			"/v1/alarms",
			`{"userId":"u1","category":"card","title":"t","body":"b","data":{"a":${deep}}}`,
			() => producer,
		],
		[
			"a mark",
			"PATCH",
			`/v1/users/u1/alarms/${"A".repeat(27)}`,
			`{"read":{"a":${deep.slice(4_000, -4_000)}}}`,
			() => customer,
		],
	])("%s", async (_what, method, path, body, caller) => {
		expectProblem(await caller()(method, path, body), 400, "BROKEN_JSON");
		expect((await producer("GET", "/health/live")).status).toBe(200);
	});
});

test("an answer is not larger than the question: at most twenty faults are told, and marks are small", async () => {
	const many = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`f${n}`, 1]));
	const reply = await customer("POST", "/v1/users/u1/alarms/read-all", many);
	expectProblem(reply, 422, "VALIDATION_FAILED");
	expect(reply.body.faults).toHaveLength(20);
	expectProblem(
		await customer("POST", "/v1/users/u1/alarms/read-all", { x: "x".repeat(20_000) }),
		413,
		"BODY_TOO_LARGE",
	);
});

describe("a body that cannot be read is refused", () => {
	test.each([
		["broken JSON", '{"userId":'],
		["nothing", ""],
		["a list", "[]"],
		["a prototype", '{"userId":"u1","__proto__":{"admin":true}}'],
		[
			"a prototype deep inside",
			'{"userId":"u1","category":"card","title":"t","body":"b","data":{"x":{"__proto__":{}}}}',
		],
	])("%s", async (_what, body) => {
		expectProblem(await producer("POST", "/v1/alarms", body), 400, "BROKEN_JSON");
	});

	test("bytes that are no UTF-8", async () => {
		const reply = await raw("POST", "/v1/alarms", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]));
		expect(reply).toMatchObject({ status: 400, body: { code: "BROKEN_JSON" } });
	});

	test("another media type", async () => {
		const reply = await producer("POST", "/v1/alarms", "a=b", { "content-type": "application/x-www-form-urlencoded" });
		expectProblem(reply, 415, "UNSUPPORTED_MEDIA_TYPE");
	});

	test("more than 4 MB", async () => {
		expectProblem(
			await producer("POST", "/v1/alarms/bulk", `{"x":"${"x".repeat(4 * 1024 * 1024)}"}`),
			413,
			"BODY_TOO_LARGE",
		);
	});

	test("more than 4 MB without a length", async () => {
		const reply = await raw("POST", "/v1/alarms/bulk", Buffer.alloc(5 * 1024 * 1024, 0x20), {
			"transfer-encoding": "chunked",
		});
		expect(reply).toMatchObject({ status: 413, body: { code: "BODY_TOO_LARGE" } });
	});

	test("a bulk request of more than 1,000", async () => {
		const reply = await producer("POST", "/v1/alarms/bulk", { alarms: Array(1_001).fill(good) });
		expectProblem(reply, 422, "VALIDATION_FAILED");
	});

	test("an empty bulk request", async () => {
		expectProblem(await producer("POST", "/v1/alarms/bulk", { alarms: [] }), 422, "VALIDATION_FAILED");
	});
});

describe("who may call", () => {
	const inbox = "/v1/users/u1/alarms";
	const cases: [
		what: string,
		method: string,
		path: string,
		credential: () => string | undefined,
		status: number,
		code: string,
	][] = [
		["nobody reads without a credential", "GET", inbox, () => undefined, 401, "UNAUTHENTICATED"],
		[
			"nobody reads with a made-up key",
			"GET",
			inbox,
			() => `ak_aaaaaaaaaaaa_${"a".repeat(43)}`,
			401,
			"UNAUTHENTICATED",
		],
		["nobody reads with half a key", "GET", inbox, () => system.keys.producerKey.slice(0, -2), 401, "UNAUTHENTICATED"],
		["nobody reads with a token of another signer", "GET", inbox, () => FOREIGN_TOKEN, 401, "UNAUTHENTICATED"],
		["a producer does not read an inbox", "GET", inbox, () => system.keys.producerKey, 403, "FORBIDDEN"],
		["an operator does not read an inbox", "GET", inbox, () => system.keys.opsKey, 403, "FORBIDDEN"],
		["a producer does not see the map", "GET", "/v1/ops/map", () => system.keys.producerKey, 403, "FORBIDDEN"],
		[
			"an operator sees the map, and no path beside it",
			"GET",
			"/v1/ops/maps",
			() => system.keys.opsKey,
			404,
			"NOT_FOUND",
		],
		["paths are case-sensitive", "GET", "/V1/ops/map", () => system.keys.opsKey, 404, "NOT_FOUND"],
		[
			"actions are not reachable by their names",
			"GET",
			"/shard.router/map",
			() => system.keys.opsKey,
			404,
			"NOT_FOUND",
		],
		["nor are internal ones", "GET", "/~node/options", () => system.keys.opsKey, 404, "NOT_FOUND"],
		["a path has only its own methods", "PUT", inbox, () => system.keys.opsKey, 415, "UNSUPPORTED_MEDIA_TYPE"],
		["a broken path is refused", "GET", "/v1/users/%E0%A4%A/alarms", () => system.keys.opsKey, 400, "BAD_REQUEST"],
	];
	const FOREIGN_TOKEN =
		"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1MSIsImF1ZCI6ImFsYXJtLXNlcnZpY2UiLCJleHAiOjQxMDI0NDQ4MDB9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	test.each(cases)("%s", async (_what, method, path, credential, status, code) => {
		expectProblem(await restClient(url, credential())(method, path), status, code);
	});

	test("a customer gets the same answer for every other inbox, whether it exists or not", async () => {
		const [existing, missing] = await Promise.all([
			customer("GET", "/v1/users/u2/alarms"),
			customer("GET", "/v1/users/nobody/alarms"),
		]);
		expectProblem(existing, 403, "FORBIDDEN");
		expect(existing.body).toEqual(missing.body);
	});

	test("a customer creates nothing", async () => {
		expectProblem(await customer("POST", "/v1/alarms", good), 403, "FORBIDDEN");
	});

	test("a stranger's body is not even read", async () => {
		const reply = await restClient(url)("POST", "/v1/alarms", "{ this is no JSON");
		expectProblem(reply, 401, "UNAUTHENTICATED");
		expect(reply.headers.get("www-authenticate")).toBe("Bearer");
	});

	test("health needs no credential and tells what is not ready", async () => {
		expect(await restClient(url)("GET", "/health/live")).toMatchObject({ status: 200, body: { status: "live" } });
		const ready = await restClient(url)("GET", "/health/ready");
		expect(ready).toMatchObject({
			status: 200,
			body: { status: "ready", checks: { credentials: "ok", "routing map": "ok" } },
		});
	});
});

describe("a read with a fault is refused", () => {
	const inbox = "/v1/users/u1/alarms";
	test.each([
		["a broken cursor", `${inbox}?cursor=abc`, 400, "BROKEN_CURSOR"],
		["a limit over 100", `${inbox}?limit=101`, 422, "VALIDATION_FAILED"],
		["a limit that is no number", `${inbox}?limit=ten`, 422, "VALIDATION_FAILED"],
		["a moment that is none", `${inbox}?from=2026-02-30T25:00:00Z`, 422, "VALIDATION_FAILED"],
		["an operator in the query", `${inbox}?category[$ne]=x`, 422, "VALIDATION_FAILED"],
		["a field twice", `${inbox}?category=card&category=loan`, 422, "VALIDATION_FAILED"],
		["a field of the path in the query", `${inbox}?userId=u2`, 422, "VALIDATION_FAILED"],
		["a prototype in the query", `${inbox}?__proto__=1`, 422, "VALIDATION_FAILED"],
		["an unknown field", `${inbox}?sort=asc`, 422, "VALIDATION_FAILED"],
		["an id that is none", `${inbox}/xyz`, 422, "VALIDATION_FAILED"],
		["an id of somebody else", `${inbox}/${"A".repeat(27)}`, 404, "ALARM_NOT_FOUND"],
	])("%s", async (_what, path, status, code) => {
		expectProblem(await customer("GET", path), status, code);
	});

	test("a cursor of another customer", async () => {
		const { showCursor } = await import("../../domain/alarms/paging.ts");
		const { newAlarmId } = await import("../../domain/alarms/ids.ts");
		const foreign = showCursor(newAlarmId("u2", realNowMs()));
		expectProblem(await customer("GET", `${inbox}?cursor=${foreign}`), 400, "BROKEN_CURSOR");
	});

	test("a mark with a field of the path", async () => {
		const path = `${inbox}/${"A".repeat(27)}`;
		expectProblem(await customer("PATCH", path, { read: true, userId: "u2" }), 422, "VALIDATION_FAILED");
		expectProblem(await customer("PATCH", `${path}?x=1`, { read: true }), 422, "VALIDATION_FAILED");
		expectProblem(await customer("PATCH", path, { read: "yes" }), 422, "VALIDATION_FAILED");
	});

	test("an idempotency key that differs between header and body", async () => {
		const reply = await producer("POST", "/v1/alarms", { ...good, idempotencyKey: "a" }, { "Idempotency-Key": "b" });
		expectProblem(reply, 422, "VALIDATION_FAILED");
	});
});

/** A request whose bytes and framing fetch would not send. */
function raw(
	method: string,
	path: string,
	body: Buffer,
	headers: Record<string, string> = {},
): Promise<{ status: number; body: unknown }> {
	return new Promise((resolve, reject) => {
		const authorization = `Bearer ${system.keys.producerKey}`;
		const sent = request(
			`${url}${path}`,
			{ method, headers: { authorization, "content-type": "application/json", ...headers } },
			(reply) => {
				const chunks: Buffer[] = [];
				reply.on("data", (chunk: Buffer) => chunks.push(chunk));
				reply.on("end", () =>
					resolve({ status: reply.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) }),
				);
			},
		);
		sent.on("error", reject);
		sent.end(body);
	});
}
