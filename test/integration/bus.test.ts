import { join } from "node:path";
import type { ServiceBroker } from "moleculer";
import { findServer, startNats } from "../../ops/embedded/index.ts";
import { eventually } from "../support/eventually.ts";
import { restClient } from "../support/rest.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let caller: ServiceBroker;

beforeAll(async () => {
	system = await startSystem();
	await system.run("alarm.create");
	await system.run("alarm.query");
	await system.run("alarm.consume");
	caller = await system.run("gateway");
	await caller.waitForServices(["alarm.create", "alarm.query"]);
});
afterAll(() => system?.stop());

const good = { userId: "u1", category: "card", title: "t", body: "b" };

describe("a caller on the bus proves who it is", () => {
	const submit = (auth?: string, params: object = good) =>
		caller.call("alarm.create.submit", params, auth === undefined ? {} : { meta: { auth } });

	test("with its key it is served", async () => {
		expect(await submit(system.keys.producerKey)).toMatchObject({ status: "accepted", via: "queue" });
	});

	test.each([
		["without a key", undefined, "UNAUTHENTICATED"],
		["with a wrong key", `ak_000000000000_${"x".repeat(43)}`, "UNAUTHENTICATED"],
	])("%s it is not", async (_what, auth, type) => {
		await expect(submit(auth)).rejects.toMatchObject({ type });
		// Not even whether the params were right.
		await expect(submit(auth, { strange: 1 })).rejects.toMatchObject({ type });
	});

	test("with a key of another role it is not", async () => {
		await expect(submit(system.keys.opsKey)).rejects.toMatchObject({ type: "FORBIDDEN" });
		const meta = { auth: await system.tokenOf("u2") };
		await expect(caller.call("alarm.query.list", { userId: "u1" }, { meta })).rejects.toMatchObject({
			type: "FORBIDDEN",
		});
	});

	test("its params are checked like those of REST, with the faults", async () => {
		const wrong = submit(system.keys.producerKey, { ...good, title: "가".repeat(201) });
		await expect(wrong).rejects.toMatchObject({ type: "VALIDATION_FAILED", data: { faults: [{ field: "title" }] } });
	});
});

test("a gateway that stands alone reaches the services over NATS", async () => {
	const producer = restClient(urlOf(caller), system.keys.producerKey);
	const accepted = await producer("POST", "/v1/alarms", { ...good, userId: "alone" });
	expect(accepted.status).toBe(202);
	const customer = restClient(urlOf(caller), await system.tokenOf("alone"));
	const items = await eventually(async () => {
		const { body } = await customer("GET", "/v1/users/alone/alarms");
		return body.items.length > 0 && body.items;
	});
	expect(items).toMatchObject([{ id: accepted.body.id }]);
	expect(await producer("POST", "/v1/alarms", { ...good, title: "" })).toMatchObject({
		status: 422,
		body: { code: "VALIDATION_FAILED" },
	});
	expect(await customer("GET", "/v1/users/u1/alarms")).toMatchObject({ status: 403, body: { code: "FORBIDDEN" } });
});

test("a bulk request that the bus cannot carry is refused, a smaller one is accepted", async () => {
	const producer = restClient(urlOf(caller), system.keys.producerKey);
	const alarms = (count: number) => Array(count).fill({ ...good, body: "나".repeat(4_000) });
	expect(await producer("POST", "/v1/alarms/bulk", { alarms: alarms(200) })).toMatchObject({
		status: 413,
		body: { code: "BODY_TOO_LARGE" },
	});
	expect((await producer("POST", "/v1/alarms/bulk", { alarms: alarms(50) })).status).toBe(202);
});

test("no node on the bus is told the address of the transporter", async () => {
	await expect(caller.call("$node.options", {})).rejects.toMatchObject({ type: "SERVICE_NOT_FOUND" });
});

test("no node on the bus can add a route to the gateway", async () => {
	await expect(caller.call("gateway.addRoute", { route: { path: "/x" } })).rejects.toMatchObject({
		type: "SERVICE_NOT_FOUND",
	});
});

test("edges start and serve while NATS is down, and join when it comes", async () => {
	await system.servers.nats.stop();
	const query = await system.run("gateway,alarm.query");
	const creation = await system.run("gateway,alarm.create");
	const customer = restClient(urlOf(query), await system.tokenOf("alone"));
	expect((await customer("GET", "/v1/users/alone/alarms")).body.items).toHaveLength(1);
	const producer = restClient(urlOf(creation), system.keys.producerKey);
	const { status, body } = await producer("POST", "/v1/alarms", { ...good, userId: "alone" });
	expect({ status, via: body.via }).toEqual({ status: 202, via: "outbox" });
	expect(await producer("GET", "/health/ready")).toMatchObject({
		status: 200,
		body: { status: "degraded", checks: { credentials: "ok" } },
	});
	await restartNats();
	await eventually(async () => (await producer("POST", "/v1/alarms", good)).body.via === "queue", "the queue in use");
	// It was relayed, and the worker that lost its connection has found its way back, too.
	await eventually(
		async () => (await customer("GET", `/v1/users/alone/alarms/${body.id}`)).status === 200,
		"the alarm stored",
	);
	await Promise.all([creation, query].map((broker) => broker.waitForServices("alarm.consume", 30_000)));
});

async function restartNats(): Promise<void> {
	const { nats, dir } = system.servers;
	const binary = await findServer("nats-server", { runDir: ".run", say: () => undefined });
	const ports = { port: Number(new URL(nats.url).port), monitorPort: Number(new URL(nats.monitorUrl).port) };
	system.servers.nats = await startNats({ binary, dir: join(dir, "nats"), ...ports });
	system.servers.stop = stopWith(system.servers.stop, () => system.servers.nats.stop());
}

function stopWith(stop: () => Promise<void>, first: () => Promise<void>): () => Promise<void> {
	return () => first().then(stop);
}
