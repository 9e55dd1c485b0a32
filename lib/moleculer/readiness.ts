import type { ServiceBroker } from "moleculer";
import { isDraining } from "../http/drain-gateway.ts";

/** What a process needs before it is ready to serve. Dependencies belong here and never into liveness: a restart would not mend them. */

/** Tells what is wrong now, or null; `degraded` is what the process can do without for a while. */
type Check = () => string | { degraded: string } | null;

const ofBroker = new WeakMap<ServiceBroker, Map<string, Check>>();

/** Adds a check; a later one of the same name takes its place. */
export function addReadinessCheck(broker: ServiceBroker, name: string, check: Check): void {
	const checks = ofBroker.get(broker) ?? new Map<string, Check>();
	ofBroker.set(broker, checks.set(name, check));
}

interface Readiness {
	status: "ready" | "degraded" | "not ready";
	checks: Record<string, string>;
}

export function readinessOf(broker: ServiceBroker): Readiness {
	const found = [...(ofBroker.get(broker) ?? [])].map(([name, check]) => [name, check()] as const);
	const isReady = broker.started && !isDraining(broker) && found.every(([, wrong]) => typeof wrong !== "string");
	const isDegraded = found.some(([, wrong]) => wrong !== null);
	const checks = found.map(([name, wrong]) => [name, typeof wrong === "object" ? (wrong?.degraded ?? "ok") : wrong]);
	return { status: !isReady ? "not ready" : isDegraded ? "degraded" : "ready", checks: Object.fromEntries(checks) };
}
