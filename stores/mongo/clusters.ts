import type { ClusterAddress } from "../../config.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { sameHosts } from "../../domain/routing/cluster-address.ts";
import { addressConflict } from "../../domain/routing/clusters.ts";
import { ArchiveBreaker } from "./archive-breaker.ts";
import { Cluster } from "./cluster.ts";
import { Refusal } from "./fatal-error.ts";

/** The environment names a cluster otherwise than the routing map: one of the two would be written to by mistake. */
export class WrongAddress extends Refusal {
	override readonly name = "WrongAddress";
}

/** As long as a command may take. */
const LAST_WORDS_MS = 6_000;

/** Every cluster of the environment and of the routing map, by name; connections are opened at first use. */
export class Clusters {
	readonly archive: ReadonlyMap<string, Cluster>;
	readonly meta: Cluster;
	/** By way of it archived months are read. */
	readonly archiveBreaker = new ArchiveBreaker();
	/** What the environment says of service clusters: it stands before what the map says. */
	readonly given: ReadonlyMap<string, string>;
	readonly #service = new Map<string, Cluster>();
	/** Of those in `#service`. */
	readonly #uris = new Map<string, string>();
	/** Given up; commands that were under way have a moment to end. */
	readonly #left = new Map<Cluster, NodeJS.Timeout>();
	#map: RoutingMap | null = null;

	constructor(from: { serviceClusters: ClusterAddress[]; archiveClusters: ClusterAddress[]; metaUri: string }) {
		this.given = new Map(from.serviceClusters.map(({ name, uri }) => [name, uri]));
		for (const [name, uri] of this.given) this.#open(name, uri);
		this.archive = new Map(from.archiveClusters.map(({ name, uri }) => [name, new Cluster(name, uri)]));
		const shared = from.serviceClusters.find(({ uri }) => uri === from.metaUri);
		this.meta = (shared && this.#service.get(shared.name)) ?? new Cluster("meta", from.metaUri);
	}

	/** As they are now: they come and go with the map. */
	get service(): ReadonlyMap<string, Cluster> {
		return this.#service;
	}

	/** A service or archive cluster by its name in the routing map. */
	at(name: string): Cluster {
		const cluster = this.#service.get(name) ?? this.archive.get(name);
		if (cluster !== undefined) return cluster;
		throw new Error(
			`the routing map names the cluster ${name}, which neither MONGO_SERVICE_URIS nor MONGO_ARCHIVE_URIS has, or only at other hosts`,
		);
	}

	/** Where a service cluster is. */
	uriOf(name: string): string | undefined {
		return this.#uris.get(name);
	}

	/** Whether nothing new is to be put there. */
	isRetiring(name: string): boolean {
		return this.#map?.clusters[name]?.retiring !== undefined;
	}

	/** @throws {WrongAddress} when this environment contradicts the map. */
	refuseConflict(map: RoutingMap): void {
		const conflict = addressConflict(map, this.given);
		if (conflict !== null) throw new WrongAddress(conflict);
	}

	/** Takes up the clusters that the map names, and gives up those that have left it. A map older than the last does nothing. */
	learn(map: RoutingMap): void {
		if (map.version <= (this.#map?.version ?? 0)) return;
		this.#map = map;
		for (const [name, { uri }] of Object.entries(map.clusters)) {
			const own = this.given.get(name);
			const wanted = own ?? uri;
			// Which of the two is right cannot be known from here: neither is used.
			if (own !== undefined && uri !== undefined && !sameHosts(own, uri)) this.#leave(name);
			else if (wanted !== undefined && wanted !== this.#uris.get(name)) this.#open(name, wanted);
		}
		for (const name of [...this.#service.keys()]) {
			const isGone = map.clusters[name] === undefined;
			if (isGone && (map.retired?.[name] !== undefined || !this.given.has(name))) this.#leave(name);
		}
	}

	#open(name: string, uri: string): void {
		this.#leave(name);
		this.#service.set(name, new Cluster(name, uri));
		this.#uris.set(name, uri);
	}

	#leave(name: string): void {
		const cluster = this.#service.get(name);
		this.#service.delete(name);
		this.#uris.delete(name);
		// Never the meta database, which may be the same object: that one is never retired.
		if (cluster === undefined || cluster === this.meta) return;
		this.#left.set(cluster, setTimeout(() => void this.#closeLeft(cluster), LAST_WORDS_MS).unref());
	}

	async #closeLeft(cluster: Cluster): Promise<void> {
		clearTimeout(this.#left.get(cluster));
		this.#left.delete(cluster);
		await cluster.close().catch(() => undefined);
	}

	async close(): Promise<void> {
		const all = new Set([...this.#service.values(), ...this.archive.values(), this.meta]);
		const left = [...this.#left.keys()].map((cluster) => this.#closeLeft(cluster));
		await Promise.all([...[...all].map((cluster) => cluster.close()), ...left]);
	}
}
