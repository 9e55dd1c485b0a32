import { eventually } from "../support/eventually.ts";
import { realNowMs } from "../support/now.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let creationUrl: string;
let queryUrl: string;
let producer: Rest;
let operator: Rest;

beforeAll(async () => {
	system = await startSystem();
	creationUrl = urlOf(await system.run("gateway,alarm.create"));
	queryUrl = urlOf(await system.run("gateway,alarm.query"));
	await system.run("alarm.consume");
	producer = restClient(creationUrl, system.keys.producerKey);
	operator = restClient(queryUrl, system.keys.opsKey);
});
afterAll(() => system?.stop());

const customer = async (userId: string) => restClient(queryUrl, await system.tokenOf(userId));
const statusOf = (id: string) => restClient(queryUrl, system.keys.producerKey)("GET", `/v1/alarms/${id}/status`);
const alarmFor = (userId: string, more: object = {}) => ({
	userId,
	category: "transfer",
	title: "입금",
	body: "10,000원이 들어왔어요 🎉",
	...more,
});

async function send(userId: string, more: object = {}): Promise<string> {
	const { status, body } = await producer("POST", "/v1/alarms", alarmFor(userId, more));
	expect({ status, body }).toMatchObject({ status: 202 });
	return body.id;
}

async function stored(...ids: string[]): Promise<void> {
	for (const id of ids)
		await eventually(async () => (await statusOf(id)).body.status === "stored", `alarm ${id} stored`);
}

/** Sends alarms one by one, a millisecond apart at least, and returns their ids newest first. */
async function sendMany(
	userId: string,
	count: number,
	more: (index: number) => object = () => ({}),
): Promise<string[]> {
	const ids: string[] = [];
	for (let index = 0; index < count; index++) {
		const before = realNowMs();
		ids.unshift(await send(userId, more(index)));
		await eventually(() => realNowMs() > before);
	}
	await stored(...ids);
	return ids;
}

describe("from producer to inbox", () => {
	test("an accepted alarm is read in its customer's inbox, every field as it was sent", async () => {
		const more = {
			data: { amount: 10_000, nested: { deep: [1, "two", null, { three: -0.5 }] } },
			link: "bankapp://account/1",
			occurredAt: "2026-11-02T00:00:01.194Z",
		};
		const reply = await producer("POST", "/v1/alarms", alarmFor("field", more), { "Idempotency-Key": "k-1" });
		expect(reply.body).toMatchObject({ status: "accepted", via: "queue", id: expect.stringMatching(/^[\w-]{27}$/) });
		await stored(reply.body.id);
		const { body } = await (await customer("field"))("GET", "/v1/users/field/alarms");
		const { userId: _userId, ...shown } = alarmFor("field", more);
		expect(body).toEqual({
			items: [{ id: reply.body.id, ...shown, createdAt: reply.body.acceptedAt, read: false }],
			nextCursor: null,
		});
	});

	test("a bulk request answers each item in its order, and accepts the good ones", async () => {
		const alarms = [
			alarmFor("bulk"),
			{ ...alarmFor("bulk"), title: "" },
			"no alarm",
			alarmFor("bulk", { idempotencyKey: "b" }),
		];
		const { status, body } = await producer("POST", "/v1/alarms/bulk", { alarms });
		expect(status).toBe(207);
		expect(body).toMatchObject({
			accepted: 2,
			rejected: 2,
			items: [
				{ id: expect.any(String) },
				{ error: { code: "VALIDATION_FAILED", faults: [{ field: "title" }] } },
				{ error: { code: "VALIDATION_FAILED" } },
				{ id: expect.any(String) },
			],
		});
		await stored(body.items[0].id, body.items[3].id);
		expect((await (await customer("bulk"))("GET", "/v1/users/bulk/alarms")).body.items).toHaveLength(2);
	});

	test("a bulk request whose items are all good answers 202", async () => {
		const { status } = await producer("POST", "/v1/alarms/bulk", { alarms: [alarmFor("bulk2")] });
		expect(status).toBe(202);
	});

	test("a thousand alarms of the largest size are accepted in requests that fit, and stored", async () => {
		const largest = alarmFor("large", {
			title: "가".repeat(200),
			body: "나".repeat(4_000),
			data: { text: "x".repeat(8_100) },
			lane: "bulk",
		});
		const perRequest = 150;
		const ids: string[] = [];
		for (let sent = 0; sent < 1_000; sent += perRequest) {
			const count = Math.min(perRequest, 1_000 - sent);
			const { status, body } = await producer("POST", "/v1/alarms/bulk", { alarms: Array(count).fill(largest) });
			expect(status).toBe(202);
			ids.push(...body.items.map(({ id }: { id: string }) => id));
		}
		expect(new Set(ids).size).toBe(1_000);
		await eventually(async () => {
			const states = await Promise.all(ids.map(async (id) => (await statusOf(id)).body.status));
			return states.every((state) => state === "stored");
		}, "all stored");
	});

	test("an alarm for later appears in the inbox only then, but has its slot at once", async () => {
		const sendAt = new Date(realNowMs() + 86_400_000).toISOString();
		const id = await send("later", { sendAt });
		await stored(id);
		expect((await (await customer("later"))("GET", "/v1/users/later/alarms")).body.items).toEqual([]);
		expect((await (await customer("later"))("GET", "/v1/users/later/alarms/unread-count")).body.count).toBe(0);
	});

	test("templates are refused until they exist", async () => {
		const { status, body } = await producer("POST", "/v1/alarms", {
			userId: "u",
			category: "card",
			template: "welcome",
			variables: {},
		});
		expect({ status, body }).toMatchObject({ status: 422, body: { code: "TEMPLATES_UNAVAILABLE" } });
	});
});

describe("status", () => {
	test("tells the producer and an operator, and nobody else", async () => {
		const id = await send("status");
		await stored(id);
		expect((await operator("GET", `/v1/alarms/${id}/status`)).body).toMatchObject({ id, status: "stored" });
		const asCustomer = await (await customer("status"))("GET", `/v1/alarms/${id}/status`);
		expect(asCustomer).toMatchObject({ status: 403, body: { code: "FORBIDDEN" } });
	});

	test("an id without a slot is pending as far ahead as an alarm may be sent: it may be one for later", async () => {
		const { newAlarmId, showId } = await import("../../domain/alarms/ids.ts");
		const id = showId(newAlarmId("later", realNowMs() + 29 * 86_400_000));
		expect(await statusOf(id)).toMatchObject({ status: 200, body: { id, status: "pending" } });
	});

	test("an id that was never issued is unknown when it is old, or further ahead than an alarm may be sent", async () => {
		const { newAlarmId, showId } = await import("../../domain/alarms/ids.ts");
		for (const timeMs of [realNowMs() - 3_600_000, realNowMs() + 31 * 86_400_000]) {
			const id = showId(newAlarmId("nobody", timeMs));
			// Everything is pending until the first watermark has been read.
			const reply = await eventually(async () => {
				const found = await statusOf(id);
				return found.status === 200 ? null : found;
			}, "an answer other than pending");
			expect(reply).toMatchObject({ status: 404, body: { code: "UNKNOWN_ALARM" } });
		}
	});
});

describe("the inbox", () => {
	test("pages newest first, each alarm once, and ends", async () => {
		const ids = await sendMany("pages", 25);
		const inbox = await customer("pages");
		const seen: string[] = [];
		for (let cursor: string | null = ""; cursor !== null; ) {
			const { status, body } = await inbox("GET", `/v1/users/pages/alarms?limit=10${cursor && `&cursor=${cursor}`}`);
			expect(status).toBe(200);
			seen.push(...body.items.map(({ id }: { id: string }) => id));
			cursor = body.nextCursor;
		}
		expect(seen).toEqual(ids);
	});

	test("filters by category, by read and by time", async () => {
		const [newest, middle, oldest] = await sendMany("filter", 3, (index) => ({
			category: index === 1 ? "card" : "loan",
		}));
		const inbox = await customer("filter");
		const idsOf = async (query: string) =>
			(await inbox("GET", `/v1/users/filter/alarms?${query}`)).body.items.map(({ id }: { id: string }) => id);
		const timeOf = async (id = "") => (await inbox("GET", `/v1/users/filter/alarms/${id}`)).body.createdAt;
		await inbox("PATCH", `/v1/users/filter/alarms/${newest}`, { read: true });
		expect(await idsOf("category=loan")).toEqual([newest, oldest]);
		expect(await idsOf("read=false")).toEqual([middle, oldest]);
		expect(await idsOf("read=true")).toEqual([newest]);
		expect(await idsOf(`from=${await timeOf(middle)}`)).toEqual([newest, middle]);
		expect(await idsOf(`to=${await timeOf(middle)}`)).toEqual([middle, oldest]);
	});

	test("marks read and unread, counts what is unread, and hides", async () => {
		const [first, second, third] = await sendMany("marks", 3);
		const inbox = await customer("marks");
		const count = async () => (await inbox("GET", "/v1/users/marks/alarms/unread-count")).body;
		expect(await count()).toEqual({ count: 3, capped: false, byCategory: { transfer: 3 } });
		const read = await inbox("PATCH", `/v1/users/marks/alarms/${first}`, { read: true });
		expect(read.body).toMatchObject({ id: first, read: true, readAt: expect.any(String) });
		const again = await inbox("PATCH", `/v1/users/marks/alarms/${first}`, { read: true });
		expect(again.body.readAt).toBe(read.body.readAt);
		expect((await count()).count).toBe(2);
		const unread = await inbox("PATCH", `/v1/users/marks/alarms/${first}`, { read: false });
		expect(unread.body.read).toBe(false);
		expect((await count()).count).toBe(3);
		expect((await inbox("DELETE", `/v1/users/marks/alarms/${second}`)).status).toBe(204);
		expect((await inbox("DELETE", `/v1/users/marks/alarms/${second}`)).status).toBe(204);
		expect((await inbox("GET", `/v1/users/marks/alarms/${second}`)).body.code).toBe("ALARM_NOT_FOUND");
		expect((await inbox("GET", "/v1/users/marks/alarms")).body.items.map(({ id }: { id: string }) => id)).toEqual([
			first,
			third,
		]);
		expect((await count()).count).toBe(2);
	});

	test("read-all moves a watermark: of everything, of a category, or up to a moment", async () => {
		const [newest, , oldest] = await sendMany("all", 3, (index) => ({ category: index === 0 ? "card" : "loan" }));
		const inbox = await customer("all");
		const count = async () => (await inbox("GET", "/v1/users/all/alarms/unread-count")).body;
		await inbox("POST", "/v1/users/all/alarms/read-all", { category: "card" });
		expect(await count()).toEqual({ count: 2, capped: false, byCategory: { loan: 2 } });
		const { createdAt } = (await inbox("GET", `/v1/users/all/alarms/${newest}`)).body;
		const justBefore = new Date(Date.parse(createdAt) - 1).toISOString();
		await inbox("POST", "/v1/users/all/alarms/read-all", { before: justBefore });
		expect((await count()).count).toBe(1);
		expect((await inbox("POST", "/v1/users/all/alarms/read-all", {})).status).toBe(200);
		expect((await count()).count).toBe(0);
		const items = (await inbox("GET", "/v1/users/all/alarms")).body.items;
		expect(items.every(({ read }: { read: boolean }) => read)).toBe(true);
		// Behind the watermark an alarm can still be marked unread, and then counts again.
		await inbox("PATCH", `/v1/users/all/alarms/${oldest}`, { read: false });
		expect(await count()).toEqual({ count: 1, capped: false, byCategory: { card: 1 } });
		expect((await inbox("GET", "/v1/users/all/alarms?read=false")).body.items).toMatchObject([
			{ id: oldest, read: false },
		]);
		await inbox("POST", "/v1/users/all/alarms/read-all", {});
		expect((await count()).count).toBe(0);
	});

	test("counts up to its cap and says so", async () => {
		const alarms = Array(150).fill(alarmFor("many"));
		const { body } = await producer("POST", "/v1/alarms/bulk", { alarms });
		await stored(body.items.at(-1).id, body.items[0].id);
		const inbox = await customer("many");
		const counted = await eventually(async () => {
			const reply = await inbox("GET", "/v1/users/many/alarms/unread-count");
			return reply.body.capped && reply.body;
		});
		expect(counted).toEqual({ count: 100, capped: true, byCategory: { transfer: 100 } });
	});

	test("is empty for a customer who never had an alarm", async () => {
		expect((await (await customer("never"))("GET", "/v1/users/never/alarms")).body).toEqual({
			items: [],
			nextCursor: null,
		});
	});
});
