import type { ClusterAddress } from "../config.ts";
import { ArchiveGate } from "./archive-gate.ts";
import { Cluster } from "./cluster.ts";

/** Every cluster of the configuration, by name; connections are opened at first use. */
export class Clusters {
	readonly service: ReadonlyMap<string, Cluster>;
	readonly archive: ReadonlyMap<string, Cluster>;
	readonly meta: Cluster;
	/** By way of it archived months are read. */
	readonly archiveGate = new ArchiveGate();

	constructor(from: { serviceClusters: ClusterAddress[]; archiveClusters: ClusterAddress[]; metaUri: string }) {
		this.service = byName(from.serviceClusters);
		this.archive = byName(from.archiveClusters);
		const shared = from.serviceClusters.find(({ uri }) => uri === from.metaUri);
		this.meta = (shared && this.service.get(shared.name)) ?? new Cluster("meta", from.metaUri);
	}

	/** A service or archive cluster by its name in the routing map. */
	at(name: string): Cluster {
		const cluster = this.service.get(name) ?? this.archive.get(name);
		if (cluster !== undefined) return cluster;
		throw new Error(
			`the routing map names the cluster ${name}, which neither MONGO_SERVICE_URIS nor MONGO_ARCHIVE_URIS has`,
		);
	}

	async close(): Promise<void> {
		const all = new Set([...this.service.values(), ...this.archive.values(), this.meta]);
		await Promise.all([...all].map((cluster) => cluster.close()));
	}
}

function byName(addresses: ClusterAddress[]): Map<string, Cluster> {
	return new Map(addresses.map(({ name, uri }) => [name, new Cluster(name, uri)]));
}
