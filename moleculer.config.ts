import type { BrokerOptions } from "moleculer";
import type { Config } from "./config.ts";
import { drainGateway } from "./lib/http/drain-gateway.ts";
import { metricsServer } from "./lib/metrics/metrics-server.ts";
import { rejectionCounts } from "./lib/metrics/refusal-counts.ts";
import { backgroundBus } from "./lib/moleculer/background-bus.ts";
import { localCalls } from "./lib/moleculer/local-calls.ts";

const LOST_CALL = new Set(["REQUEST_TIMEOUT", "REQUEST_REJECTED"]);

/** Broker options; nothing else. */
export default function brokerOptions(config: Config): BrokerOptions {
	return {
		namespace: "alarm",
		...(config.nodeId !== undefined && { nodeID: config.nodeId }),
		transporter: {
			type: "NATS",
			options: {
				url: config.natsUrl,
				reconnectTimeWait: 500,
				pingInterval: 1_000,
				maxPingOut: 2,
				timeout: 2_000,
				ignoreAuthErrorAbort: true,
			},
		},
		middlewares: [
			backgroundBus(),
			drainGateway(),
			localCalls(),
			rejectionCounts(),
			metricsServer(config.metricsPort, config.bindAddress),
		],
		requestTimeout: 5_000,
		// A node that was killed stays in the registry until its heartbeat is missed: after a few lost calls it gets no more.
		// Not on the edges, whose calls are local: it would only cost.
		circuitBreaker: {
			enabled: config.services.every((name) => !name.startsWith("alarm.")),
			threshold: 0.5,
			minRequestCount: 3,
			windowTime: 10,
			halfOpenTime: 5_000,
			check: (error: Error) => LOST_CALL.has((error as { type?: string }).type ?? ""),
		},
		// Without tracking, `stopped` would run before the calls in flight end.
		tracking: { enabled: true, shutdownTimeout: 20_000 },
		heartbeatInterval: 5,
		heartbeatTimeout: 15,
		registry: { preferLocal: true },
		// The runner of start-up handles signals: two handlers in one process would stop the broker twice.
		skipProcessEventRegistration: true,
		// `$node.options` would tell every node on the bus the address of the transporter, password and all.
		internalServices: { $node: { actions: { options: false } } },
		// They would wrap every action; ours are in lib/metrics/metrics.ts.
		metrics: { enabled: false },
		logger: {
			type: "Pino",
			options: {
				level: config.logLevel,
				pino: {
					options: {
						base: null,
						redact: {
							paths: ["*.title", "*.body", "*.data", "*.auth", "*.authorization", "*.token"],
							censor: "[redacted]",
						},
					},
				},
			},
		},
	};
}
