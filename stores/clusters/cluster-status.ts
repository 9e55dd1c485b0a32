import type { ClusterList, ClusterState } from "../../contracts/clusters.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { shownAddress } from "../../domain/routing/cluster-address.ts";
import { shardsOn } from "../../domain/routing/clusters.ts";
import { CLUSTER_CATALOG, catalogEntryOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { answerWithin } from "../../lib/timeout.ts";
import { outboxDepth } from "../alarms/outbox-depth.ts";
import type { Cluster } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { hasRows } from "./add-cluster.ts";
import { clusterCollections } from "./cluster-fence.ts";
import { waysOf } from "./retire-cluster.ts";

const ANSWER_MS = 1_500;

/** Every service cluster as an operator wants to see it; one that is silent costs no more than a moment. */
export async function clusterStates(clusters: Clusters, map: RoutingMap, nowMs: number): Promise<ClusterList> {
	const states = [...clusters.service.values()].map((cluster) => stateOf(clusters, map, cluster, nowMs));
	return { clusters: await Promise.all(states), retired: map.retired ?? {}, mapVersion: map.version };
}

async function stateOf(clusters: Clusters, map: RoutingMap, cluster: Cluster, nowMs: number): Promise<ClusterState> {
	const { name } = cluster;
	const shards = shardsOn(map, name);
	const { retiring } = map.clusters[name] ?? {};
	const deps = { clusters, nowMs: () => nowMs, onMap: () => undefined };
	const [holds, blockers] = await Promise.all([
		answerWithin(ANSWER_MS, catalogOf(cluster, shards)),
		retiring === undefined ? null : answerWithin(ANSWER_MS, waysOf(deps, cluster)),
	]);
	return {
		name,
		address: shownAddress(clusters.uriOf(name) ?? ""),
		from: clusters.given.has(name) ? "environment" : "map",
		answers: holds !== null,
		shards,
		...(holds ?? { rows: null, bytes: null, outbox: null, ledgerDays: null }),
		...(retiring !== undefined && { retiring, blockers: blockers ?? [`${name} does not answer`] }),
	};
}

async function catalogOf(cluster: Cluster, shards: number[]) {
	const [stats, { batches }, ledgerDays] = await Promise.all([
		Promise.all(shards.map((shard) => cluster.read(shardDatabase(shard), { dbStats: 1 }))),
		outboxDepth(cluster),
		ledgerDaysOf(cluster),
	]);
	return {
		rows: stats.reduce((sum, { objects }) => sum + Number(objects), 0),
		bytes: stats.reduce((sum, { totalSize }) => sum + Number(totalSize), 0),
		outbox: batches,
		ledgerDays,
	};
}

async function ledgerDaysOf(cluster: Cluster): Promise<string[]> {
	const { kind } = CLUSTER_CATALOG.ledger;
	const names = (await clusterCollections(cluster)).map(({ name }) => name);
	const days = names.filter((name) => catalogEntryOf(CLUSTER_CATALOG, name)?.kind === kind);
	const filled = await Promise.all(days.map((name) => hasRows(cluster, name)));
	return days.filter((_, at) => filled[at]).map((name) => name.slice(`${kind}_`.length).replaceAll("_", "-"));
}
