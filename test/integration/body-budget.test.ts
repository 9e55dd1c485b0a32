import { type ClientRequest, request } from "node:http";
import { LIMITS } from "../../contracts/alarm.ts";
import { eventually } from "../support/eventually.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let url: string;
let producer: Rest;

beforeAll(async () => {
	system = await startSystem();
	url = urlOf(await system.run("gateway,alarm.create"));
	producer = restClient(url, system.keys.producerKey);
});
afterAll(() => system?.stop());

const good = { userId: "u1", category: "card", title: "t", body: "b" };
/** A sixteenth is left to small bodies. */
const FITTING = (LIMITS.bodyBytesInHand / LIMITS.requestBytes) * (15 / 16);
const OVER = 10;

interface Upload {
	request: ClientRequest;
	answer: { status?: number | undefined; retryAfter?: string | undefined; code?: string };
}

/** Sends the beginning of a bulk request, and no more. */
function uploadSlowly(headers: Record<string, string>): Upload {
	const authorization = `Bearer ${system.keys.producerKey}`;
	const sent = request(`${url}/v1/alarms/bulk`, {
		method: "POST",
		agent: false,
		headers: { authorization, "content-type": "application/json", ...headers },
	});
	const upload: Upload = { request: sent, answer: {} };
	sent.on("response", (reply) => {
		reply.once("data", (chunk: Buffer) => {
			const { code } = JSON.parse(String(chunk));
			upload.answer = { status: reply.statusCode, retryAfter: reply.headers["retry-after"], code };
		});
	});
	sent.on("error", () => undefined);
	sent.write('{"alarms":[');
	begun.push(upload);
	return upload;
}

const bulk = () =>
	producer("POST", "/v1/alarms/bulk", { alarms: [good], filler: "x".repeat(LIMITS.requestBytes - 1_000) });

const begun: Upload[] = [];
afterEach(() => {
	for (const upload of begun.splice(0)) upload.request.destroy();
});

describe.each([
	["announced", { "content-length": String(LIMITS.requestBytes) }],
	["of unknown length", { "transfer-encoding": "chunked" }],
])("many slow uploads %s", (_what, headers) => {
	test("those over the budget are refused at once; small bodies still pass; the budget comes back", async () => {
		const uploads = Array.from({ length: FITTING + OVER }, () => uploadSlowly(headers));
		const refused = () => uploads.filter(({ answer }) => answer.status !== undefined);
		await eventually(async () => refused().length >= OVER, "the uploads over the budget refused");
		expect(refused().map(({ answer }) => answer)).toEqual(
			Array(OVER).fill({ status: 503, retryAfter: "1", code: "OVERLOADED" }),
		);
		// A client that sends a large body in one go gets to see the answer, too.
		expect(await bulk()).toMatchObject({ status: 503, body: { code: "OVERLOADED" } });
		expect((await producer("POST", "/v1/alarms", good)).status).toBe(202);
		expect(refused()).toHaveLength(OVER);
		for (const upload of uploads) upload.request.destroy();
		// Read whole, and refused for its unknown field only.
		await eventually(async () => (await bulk()).status === 422, "the budget given back");
	});
});

test("what was read and refused gives its room back, too", async () => {
	for (let n = 0; n < 2 * FITTING; n++) expect((await bulk()).status).toBe(422);
	const broken = "{".repeat(LIMITS.requestBytes);
	for (let n = 0; n < 2 * FITTING; n++)
		expect(await producer("POST", "/v1/alarms", broken)).toMatchObject({ body: { code: "BROKEN_JSON" } });
});
