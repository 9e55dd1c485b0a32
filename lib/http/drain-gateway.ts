import type { Server } from "node:http";
import { Server as NetServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Middleware, ServiceBroker } from "moleculer";

/**
 * Before any service stops, the gateway lets its callers go: it is not ready any more, answers every request with
 * `Connection: close`, stops listening, and waits until what it has received is answered. The broker by itself stops all services at
 * once, and would cut off requests that are on their way.
 */
const NOTICE_MS = 300;
const ANSWER_MS = 10_000;
const STEP_MS = 20;

const draining = new WeakSet<ServiceBroker>();

export function isDraining(broker: ServiceBroker): boolean {
	return draining.has(broker);
}

export function drainGateway(): Middleware {
	return {
		name: "drain-gateway",
		async stopping(broker: ServiceBroker) {
			const gateway = broker.getLocalService("gateway") as unknown as { server?: Server } | undefined;
			if (gateway?.server?.listening) await drain(broker, gateway.server);
		},
	} as Middleware;
}

async function drain(broker: ServiceBroker, server: Server): Promise<void> {
	draining.add(broker);
	await sleep(NOTICE_MS);
	// The HTTP server's own close would also cut connections whose request has been sent but not read yet.
	NetServer.prototype.close.call(server);
	await sleep(NOTICE_MS);
	server.closeIdleConnections();
	for (let waitedMs = 0; waitedMs < ANSWER_MS && (await connectionsOf(server)) > 0; waitedMs += STEP_MS)
		await sleep(STEP_MS);
	const cut = await connectionsOf(server);
	server.closeAllConnections();
	if (cut > 0) tellCut(broker, cut);
}

/** As Moleculer tells of a service that does not stop: the runner sees to the exit code. */
function tellCut(broker: ServiceBroker, count: number): void {
	const error = new Error(
		`${count} connections were cut off: not answered or not closed within ${ANSWER_MS / 1_000} s`,
	);
	broker.logger.error(error.message);
	broker.broadcastLocal("$broker.error", { error, module: "drain-gateway", type: "failedServicesStop" });
}

function connectionsOf(server: Server): Promise<number> {
	return new Promise((resolve) => {
		server.getConnections((_error, count) => resolve(count ?? 0));
	});
}
