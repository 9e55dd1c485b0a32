import type { ServiceBroker } from "moleculer";
import { eventually } from "../support/eventually.ts";
import { realNowMs } from "../support/now.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let shards: TestShards;
let producer: Rest;
let worker: ServiceBroker;

beforeAll(async () => {
	system = await startSystem();
	shards = new TestShards(system.servers);
	producer = restClient(urlOf(await system.run("gateway,alarm.create,alarm.query")), system.keys.producerKey);
	worker = await system.run("alarm.consume");
});
afterAll(async () => {
	await shards?.close();
	await system?.stop();
});

const alarmFor = (userId: string, more: object = {}) => ({ userId, category: "card", title: "t", body: "b", ...more });
const settled = (id: string) =>
	eventually(async () => {
		const { status, body } = await producer("GET", `/v1/alarms/${id}/status`);
		return status === 200 && body.status !== "pending" && body;
	}, `the end of ${id}`);
async function single(alarm: object, key: string): Promise<string> {
	const { status, body } = await producer("POST", "/v1/alarms", alarm, { "Idempotency-Key": key });
	expect(status).toBe(202);
	return body.id;
}
async function bulk(...alarms: object[]): Promise<string[]> {
	const { status, body } = await producer("POST", "/v1/alarms/bulk", { alarms });
	expect(status).toBe(202);
	return body.items.map(({ id }: { id: string }) => id);
}
const rowsOf = async (userId: string) => (await shards.all("alarms_")).filter((row) => row.userId === userId);

test("a key sent as a header and again in a bulk item makes one alarm; the second id is a duplicate of the first", async () => {
	const first = await single(alarmFor("both"), "k");
	expect(await settled(first)).toMatchObject({ status: "stored" });
	const [second = ""] = await bulk(alarmFor("both", { idempotencyKey: "k" }));
	expect(await settled(second)).toMatchObject({ status: "duplicate", of: first });
	expect(await rowsOf("both")).toHaveLength(1);
});

test("a key that stands twice in one bulk request makes one alarm: the first", async () => {
	const item = alarmFor("within", { idempotencyKey: "k" });
	const [first = "", second = "", other = ""] = await bulk(item, item, alarmFor("within", { idempotencyKey: "l" }));
	expect(await settled(second)).toMatchObject({ status: "duplicate", of: first });
	for (const id of [first, other]) expect(await settled(id)).toMatchObject({ status: "stored" });
});

test("a key sent again with other content fails as IDEMPOTENCY_CONFLICT, names the first, and leaves a failure row", async () => {
	const first = await single(alarmFor("conflict"), "k");
	await settled(first);
	const second = await single(alarmFor("conflict", { title: "other" }), "k");
	expect(await settled(second)).toMatchObject({ status: "failed", of: first, why: { code: "IDEMPOTENCY_CONFLICT" } });
	expect(await shards.failure(Buffer.from(second, "base64url"))).toMatchObject({
		code: "IDEMPOTENCY_CONFLICT",
		userId: "conflict",
		item: expect.stringContaining("other"),
	});
	expect((await rowsOf("conflict")).map(({ title }) => title)).toEqual(["t"]);
});

test("fields in another order are the same content", async () => {
	const first = await single(alarmFor("order", { data: { a: 1, b: [{ c: 2, d: 3 }] } }), "k");
	await settled(first);
	const { userId, category, title, body } = alarmFor("order");
	const second = await single({ body, data: { b: [{ d: 3, c: 2 }], a: 1 }, title, category, userId }, "k");
	expect(await settled(second)).toMatchObject({ status: "duplicate", of: first });
});

test("one key is another customer's own", async () => {
	const ids = await bulk(alarmFor("one", { idempotencyKey: "k" }), alarmFor("another", { idempotencyKey: "k" }));
	for (const id of ids) expect(await settled(id)).toMatchObject({ status: "stored" });
});

test("an alarm for later has its key from the day of acceptance; its duplicate tells when it was accepted", async () => {
	const sendAt = new Date(realNowMs() + 29 * 86_400_000).toISOString();
	const first = await single(alarmFor("later", { sendAt }), "k");
	await settled(first);
	const reply = await producer("POST", "/v1/alarms", alarmFor("later", { sendAt, idempotencyKey: "k" }));
	expect(await settled(reply.body.id)).toEqual({
		id: reply.body.id,
		status: "duplicate",
		of: first,
		acceptedAt: reply.body.acceptedAt,
	});
});

test("a restart of the worker forgets no key", async () => {
	const first = await single(alarmFor("restart"), "k");
	await settled(first);
	await worker.stop();
	const second = await single(alarmFor("restart"), "k");
	await system.run("alarm.consume");
	expect(await settled(second)).toMatchObject({ status: "duplicate", of: first });
});
