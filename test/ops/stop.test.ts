import { request } from "node:http";
import { ServiceBroker, type ServiceSchema } from "moleculer";
import { stopWell } from "../../ops/stop.ts";
import { startProcess } from "../support/processes.ts";
import { startSystem } from "../support/system.ts";

async function brokerWith(stopped: () => Promise<void>, middleware: object = {}): Promise<ServiceBroker> {
	const broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true, middlewares: [middleware] });
	broker.createService({ name: "x", stopped } as ServiceSchema);
	await broker.start();
	return broker;
}

test("a broker that stops well says nothing", async () => {
	await stopWell(await brokerWith(async () => undefined));
});

test("a service that fails to stop is told, with its reason", async () => {
	const broker = await brokerWith(() => Promise.reject(new Error("the account was not written")));
	await expect(stopWell(broker)).rejects.toThrow("not stopped well: the account was not written");
});

test("so is another step that fails", async () => {
	const stopping = () => Promise.reject(new Error("no drain"));
	await expect(stopWell(await brokerWith(async () => undefined, { stopping }))).rejects.toThrow("a step of the broker");
});

test("a process that cuts off a caller says so and exits with 1; without one it exits with 0", async () => {
	const system = await startSystem();
	try {
		const services = "gateway,alarm.create";
		const calm = await startProcess(system.servers, "calm", services);
		const busy = await startProcess(system.servers, "busy", services);
		const headers = { authorization: `Bearer ${system.keys.producerKey}`, "content-type": "application/json" };
		const slow = request(`${busy.url}/v1/alarms`, { method: "POST", agent: false, headers });
		slow.on("error", () => undefined);
		await new Promise<void>((resolve) => slow.write("{", () => resolve()));
		expect(await calm.end("SIGTERM")).toBe("exit code 0");
		expect(await busy.end("SIGTERM")).toBe("exit code 1");
		expect(busy.output()).toContain("not stopped well: 1 connections were cut off");
	} finally {
		await system.stop();
	}
});
