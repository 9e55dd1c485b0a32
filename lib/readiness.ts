import type { ServiceBroker } from "moleculer";
import { isDraining } from "./drain-gateway.ts";

/** What a process needs before it is ready to serve. Dependencies belong here and never into liveness: a restart would not mend them. */

/** Tells what is wrong now, or null. */
type Check = () => string | null;

const ofBroker = new WeakMap<ServiceBroker, Map<string, Check>>();

/** Adds a check; a later one of the same name takes its place. */
export function addReadinessCheck(broker: ServiceBroker, name: string, check: Check): void {
	const checks = ofBroker.get(broker) ?? new Map<string, Check>();
	ofBroker.set(broker, checks.set(name, check));
}

export interface Readiness {
	status: "ready" | "not ready";
	checks: Record<string, string>;
}

export function readinessOf(broker: ServiceBroker): Readiness {
	const checks = [...(ofBroker.get(broker) ?? [])].map(([name, check]) => [name, check() ?? "ok"] as const);
	const isReady = broker.started && !isDraining(broker) && checks.every(([, found]) => found === "ok");
	return { status: isReady ? "ready" : "not ready", checks: Object.fromEntries(checks) };
}
