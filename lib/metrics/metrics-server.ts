import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { Middleware, ServiceBroker } from "moleculer";
import { METRICS_TYPE, metricsOf } from "./metrics.ts";

/** Answers a scrape with the metrics of this process. */
export async function sendMetrics(broker: ServiceBroker, res: ServerResponse): Promise<void> {
	// Nobody would catch what is thrown here.
	const text = await metricsOf(broker)
		.text()
		.catch(() => null);
	res.writeHead(text === null ? 500 : 200, { "Content-Type": METRICS_TYPE });
	res.end(text ?? "");
}

/**
 * Serves `GET /metrics` on a port of its own: a worker has no gateway. From before the services start until they have stopped, so that
 * a slow start and a slow stop can be seen. Port 0 is off. @throws at the start when the port is taken.
 */
export function metricsServer(port: number, address: string): Middleware {
	let server: Server | null = null;
	return {
		name: "metrics-server",
		async starting(broker: ServiceBroker) {
			if (port !== 0) server = await listen(broker, port, address);
		},
		async stopped() {
			server?.close();
			server?.closeAllConnections();
			server = null;
		},
	} as Middleware;
}

async function listen(broker: ServiceBroker, port: number, address: string): Promise<Server> {
	const server = createServer((req, res) => {
		if (req.method === "GET" && req.url === "/metrics") void sendMetrics(broker, res);
		else res.writeHead(404).end();
	});
	server.listen(port, address);
	await once(server, "listening").catch((error: unknown) => {
		throw new Error(`METRICS_PORT ${port} cannot be used: ${error instanceof Error ? error.message : error}`);
	});
	return server;
}
