import type { Middleware, ServiceBroker } from "moleculer";

/**
 * The stock broker waits for the transporter for ever before it starts any service. This middleware waits a moment, then lets the
 * services start, and joins the bus whenever it comes: an edge that restarts while NATS is down must serve.
 */
const TIMEOUT_MS = 2_000;

interface Transit {
	connect(): Promise<void>;
}

export function backgroundBus(): Middleware {
	return {
		name: "background-bus",
		async starting(broker: ServiceBroker) {
			const transit = (broker as unknown as { transit: Transit | null }).transit;
			if (transit === null) return;
			const connect = transit.connect.bind(transit);
			transit.connect = () => {
				const connected = connect().then(() => announce(broker));
				return Promise.race([connected, breaker()]);
			};
		},
	} as Middleware;
}

/** Other nodes that were up before learn of our services, as they would have at a stock start. */
function announce(broker: ServiceBroker): void {
	const { registry } = broker as unknown as { registry: { discoverer: { sendLocalNodeInfo(): Promise<void> } } };
	if ((broker as unknown as { started: boolean }).started) void registry.discoverer.sendLocalNodeInfo();
}

function breaker(): Promise<void> {
	return new Promise((resolve) => {
		setTimeout(resolve, TIMEOUT_MS).unref();
	});
}
