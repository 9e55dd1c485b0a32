import type { Service } from "moleculer";
import type { Config } from "../config.ts";
import { share } from "../lib/moleculer/shared-resource.ts";
import { WrongServer } from "../stores/mongo/cluster.ts";
import { Clusters } from "../stores/mongo/clusters.ts";

/** The databases of the configuration, shared by all services of a process. */
export function shareClusters(service: Service, config: Config): { value: Clusters; release: () => Promise<void> } {
	return share(service.broker, "clusters", () => {
		const clusters = new Clusters(config);
		return { value: clusters, close: () => clusters.close() };
	});
}

/** Looks at every cluster once. One that answers wrongly refuses the start; one that is away is looked at when it is first used. */
export async function refuseWrongClusters(clusters: Clusters): Promise<void> {
	const all = new Set([clusters.meta, ...clusters.service.values(), ...clusters.archive.values()]);
	const looked = await Promise.allSettled([...all].map((cluster) => cluster.check()));
	for (const one of looked) {
		if (one.status === "rejected" && one.reason instanceof WrongServer) throw one.reason;
	}
}
