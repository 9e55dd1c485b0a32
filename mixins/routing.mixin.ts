import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import { giveUp } from "../lib/moleculer/fatal-exit.ts";
import { addReadinessCheck } from "../lib/moleculer/readiness.ts";
import { share } from "../lib/moleculer/shared-resource.ts";
import type { Clusters } from "../stores/mongo/clusters.ts";
import { CachedDocument } from "../stores/routing/cached-document.ts";
import { MAP_ID, WrongShardCount } from "../stores/routing/provision.ts";
import { refuseWrongClusters, shareClusters } from "./clusters.ts";

export interface HasRouting {
	clusters: Clusters;
	/** The routing map in hand; polled, and reloaded at once when the news of a change arrives. */
	routing: CachedDocument<RoutingMap>;
	releaseRouting: () => Promise<void>;
}

/** The databases and the map that says what lies where. Refuses the start when the map has another number of shards. */
export function routing(config: Config): Partial<ServiceSchema> {
	return {
		events: {
			async "shard.map.changed"(this: Service & HasRouting) {
				await this.routing
					.reload()
					.catch((error: unknown) => this.logger.warn(`the routing map was not reloaded: ${error}`));
			},
		},
		async started(this: Service & HasRouting) {
			const clusters = shareClusters(this, config);
			const map = share(this.broker, MAP_ID, () => watchMap(this, clusters.value, config));
			this.clusters = clusters.value;
			this.routing = map.value;
			this.releaseRouting = async () => {
				await map.release();
				await clusters.release();
			};
			addReadinessCheck(this.broker, "routing map", () => (map.value.isLoaded ? null : "it has not been loaded yet"));
			await refuseWrongClusters(this.clusters);
			await this.routing.start();
			warnOfRetired(this);
		},
		async stopped(this: Service & HasRouting) {
			await this.releaseRouting?.();
		},
	} as unknown as Partial<ServiceSchema>;
}

function watchMap(service: Service, clusters: Clusters, { logicalShards }: Config) {
	const cached = new CachedDocument<RoutingMap>(clusters, MAP_ID, {
		check: (map) => {
			if (map.shards.length !== logicalShards) throw new WrongShardCount(map.shards.length, logicalShards);
			clusters.refuseConflict(map);
		},
		onNewer: (map) => clusters.learn(map),
		onError: (error) => {
			// The databases were away at the start, and the map that came later is not for this process.
			if (error instanceof WrongShardCount) void giveUp(service.broker, error.message);
			else service.logger.warn(`the routing map could not be loaded: ${error}`);
		},
	});
	return { value: cached, close: () => cached.stop() };
}

function warnOfRetired({ clusters, routing: cached, logger }: Service & HasRouting): void {
	if (!cached.isLoaded) return;
	const names = [...clusters.given.keys()].filter((name) => !clusters.service.has(name));
	if (names.length > 0)
		logger.warn(`MONGO_SERVICE_URIS names ${names.join(", ")}, which the system has retired: leave it out`);
}
