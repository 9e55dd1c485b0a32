import type { BrokerOptions } from "moleculer";
import type { Config } from "./config.ts";
import { backgroundBus } from "./lib/background-bus.ts";

/** Broker options; nothing else. */
export default function brokerOptions(config: Config): BrokerOptions {
	return {
		namespace: "alarm",
		...(config.nodeId !== undefined && { nodeID: config.nodeId }),
		transporter: {
			type: "NATS",
			options: { url: config.natsUrl, reconnectTimeWait: 500, pingInterval: 5_000, maxPingOut: 2, timeout: 2_000 },
		},
		middlewares: [backgroundBus()],
		requestTimeout: 5_000,
		// Without tracking, `stopped` would run before the calls in flight end.
		tracking: { enabled: true, shutdownTimeout: 20_000 },
		heartbeatInterval: 5,
		heartbeatTimeout: 15,
		registry: { preferLocal: true },
		// The runner of start-up handles signals: two handlers in one process would stop the broker twice.
		skipProcessEventRegistration: true,
		internalServices: true,
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
