import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { type Front, routeOf, startFront, type Targets } from "../../ops/front.ts";

describe("the way of a request", () => {
	test.each([
		["POST", "/v1/alarms", "create"],
		["POST", "/v1/alarms?dry=1", "create"],
		["POST", "/v1/alarms/bulk", "create"],
		["GET", "/v1/alarms/AAAA/status", "query"],
		["GET", "/v1/alarms/AAAA/status?x=1", "query"],
		["GET", "/v1/users/u1/alarms", "query"],
		["POST", "/v1/users/u1/alarms/read-all", "query"],
		["PATCH", "/v1/users/u1/alarms/AAAA", "query"],
		["GET", "/v1/failures?limit=3", "query"],
		["POST", "/v1/failures/redrive", "query"],
		["GET", "/v1/templates", "ops"],
		["GET", "/v1/ops/map", "ops"],
		["GET", "/v1/alarmsomething", "ops"],
		["POST", "/v1/alarmsomething", "ops"],
		["GET", "/v1/alarms/AAAA/status/more", "ops"],
		["GET", "/health/ready", "ops"],
		["GET", "/", "ops"],
	])("%s %s goes to %s", (method, url, route) => {
		expect(routeOf(method, url)).toBe(route);
	});
});

describe("the front", () => {
	let edge: Server;
	let front: Front;
	let answer: RequestListener;

	beforeEach(async () => {
		edge = createServer((request, response) => answer(request, response));
		await new Promise<void>((resolve) => edge.listen(0, "127.0.0.1", resolve));
		const url = `http://127.0.0.1:${(edge.address() as AddressInfo).port}`;
		const nobody = "http://127.0.0.1:1";
		front = await startFront(0, { create: url, query: url, ops: nobody } satisfies Targets);
	});
	afterEach(async () => {
		await front.stop();
		edge.closeAllConnections();
		await new Promise((resolve) => edge.close(resolve));
	});

	test("passes method, path, headers and body on", async () => {
		answer = async (request, response) => {
			const body: Buffer[] = [];
			for await (const chunk of request) body.push(chunk);
			response.writeHead(202).end(`${request.method} ${request.url} ${request.headers["x-a"]} ${Buffer.concat(body)}`);
		};
		const got = await fetch(`${front.url}/v1/alarms?a=1`, { method: "POST", headers: { "x-a": "b" }, body: "hello" });
		expect(got.status).toBe(202);
		expect(await got.text()).toBe("POST /v1/alarms?a=1 b hello");
	});

	test("says that an edge is away and when to come back", async () => {
		const got = await fetch(`${front.url}/ops`);
		expect(got.status).toBe(503);
		expect(got.headers.get("content-type")).toBe("application/problem+json");
		expect(got.headers.get("retry-after")).toBe("1");
		expect(await got.json()).toMatchObject({ code: "UNAVAILABLE", status: 503, type: "/docs/errors#UNAVAILABLE" });
	});

	test("hands on each server-sent event when it comes, and ends the stream when it stops", async () => {
		answer = (_request, response) =>
			void response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
		const got = await fetch(`${front.url}/v1/users/u1/alarms/stream`);
		const reader = got.body?.getReader();
		const first = await reader?.read();
		expect(Buffer.from(first?.value ?? []).toString()).toBe("data: 1\n\n");
		await Promise.all([front.stop(), expect(reader?.read()).rejects.toThrow()]);
	});

	test("breaks the answer off when the edge does, instead of leaving the client waiting", async () => {
		answer = (_request, response) => {
			response.writeHead(200, { "content-length": "100" }).write("half", () => response.destroy());
		};
		const got = await fetch(`${front.url}/v1/users/u1/alarms`);
		await expect(got.text()).rejects.toThrow();
	});

	test("survives a client that goes away before its answer", async () => {
		const closed = Promise.withResolvers<void>();
		const socket = connect(Number(new URL(front.url).port), "127.0.0.1");
		answer = (_request, response) => {
			response.on("close", closed.resolve);
			socket.destroy();
		};
		socket.write("POST /v1/alarms HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
		await closed.promise;
		answer = (_request, response) => void response.end("still here");
		expect(await (await fetch(`${front.url}/v1/users/u`)).text()).toBe("still here");
	});

	test("says in one line that its port is taken", async () => {
		const port = Number(new URL(front.url).port);
		const again = startFront(port, { create: "", query: "", ops: "" });
		await expect(again).rejects.toThrow(`Port ${port} is taken`);
	});
});
