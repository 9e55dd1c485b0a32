import type { ServiceBroker } from "moleculer";

interface Registry {
	getServiceList(options: { onlyAvailable: boolean }): { name: string; nodeID: string }[];
}

/** Ids of the nodes that run a service now, as far as this node has heard. */
export function nodesWith(broker: ServiceBroker, service: string): string[] {
	const registry = broker.registry as unknown as Registry;
	const found = registry.getServiceList({ onlyAvailable: true }).filter(({ name }) => name === service);
	return found.map(({ nodeID }) => nodeID).sort();
}
