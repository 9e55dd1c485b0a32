import type { Context, Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import type { Meta } from "../contracts/actions.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import { CLUSTER_KEY, CLUSTER_REQUEST, NOTHING, RECONCILE } from "../contracts/rules.ts";
import { shownAddress } from "../domain/routing/cluster-address.ts";
import { shownMap } from "../domain/routing/clusters.ts";
import { lagOf, type WorkerDelays } from "../domain/time/lag.ts";
import { liftDeadFences } from "../jobs/lock/lift-dead-fences.ts";
import { AuditRunner } from "../jobs/reconcile/reconcile-runner.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { nodesWith } from "../lib/moleculer/nodes.ts";
import { broadcast, call, defineService } from "../lib/moleculer/service.ts";
import { answerWithin } from "../lib/timeout.ts";
import { admission } from "../mixins/admission.mixin.ts";
import { type HasPending, pending } from "../mixins/pending.mixin.ts";
import { type HasRouting, routing } from "../mixins/routing.mixin.ts";
import { addCluster, type RegistryDeps } from "../stores/clusters/add-cluster.ts";
import { clusterStates } from "../stores/clusters/cluster-status.ts";
import { finishRetirements, retireCluster } from "../stores/clusters/retire-cluster.ts";
import { copyCredentials, loadCredentials } from "../stores/routing/credentials.ts";
import { ensureCollections, ensureShardIndexes } from "../stores/routing/provision.ts";

interface Vars extends HasRouting, HasAdmission, HasPending {
	upkeepTimer: NodeJS.Timeout;
	upkeep: Promise<string[]> | null;
	/** True once every collection of the map was seen to have its indexes; new ones are born with them. */
	isIndexed: boolean;
	fenceTimer: NodeJS.Timeout;
	lifting: Promise<void> | null;
	audits: AuditRunner;
}

const UPKEEP_MS = 30_000;
/** A shard whose mover was killed between fence and switch takes no alarms until then. */
const FENCE_MS = 10_000;
const WORKER_MS = 1_000;
/** A cluster that is looked at may be slow to answer, and its collections are made. */
const CLUSTER_MS = 20_000;

/** Keeps the map and what it names: months and days made ahead, copies fresh. Nobody asks it on a hot path. */
export default function shardRouter(config: Config): ServiceSchema {
	return defineService<"shard.router", Vars>({
		name: "shard.router",
		mixins: [routing(config), admission(config), pending(config)],
		actions: {
			map: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					return shownMap(this.routing.current);
				},
			},
			clusters: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					await this.routing.reload();
					return clusterStates(this.clusters, this.routing.current, Date.now());
				},
			},
			addCluster: {
				access: ["operator"],
				params: CLUSTER_REQUEST,
				timeout: CLUSTER_MS,
				async handler(ctx, caller) {
					const { name, uri } = ctx.params;
					const { addition, map } = await addCluster(registryOf(this), { name, uri, by: caller.name });
					await tell(this, map);
					const state = addition === "new" ? "added" : addition;
					return { name, address: shownAddress(uri), state, mapVersion: map.version };
				},
			},
			retireCluster: {
				access: ["operator"],
				params: CLUSTER_KEY,
				timeout: CLUSTER_MS,
				async handler(ctx, caller) {
					const { name } = ctx.params;
					const { map, blockers, state } = await retireCluster(registryOf(this), name, caller.name);
					await tell(this, map);
					return { name, state, blockers, mapVersion: map.version };
				},
			},
			ensureCollections: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					return { created: await upkeepOnce(this) };
				},
			},
			lag: {
				access: ["operator"],
				params: NOTHING,
				async handler(ctx) {
					const [found, workers] = await Promise.all([this.pending(), delaysOfWorkers(ctx)]);
					return lagOf(found, workers);
				},
			},
			reconcile: {
				access: ["operator"],
				params: RECONCILE,
				async handler(ctx) {
					return this.audits.start(ctx.params.days ?? 2, Date.now());
				},
			},
			reconcileState: {
				access: ["operator"],
				params: NOTHING,
				async handler() {
					return this.audits.state();
				},
			},
		},
		async started() {
			this.audits = new AuditRunner(this.clusters, this.broker.nodeID);
			this.upkeep = null;
			this.isIndexed = false;
			this.upkeepTimer = setInterval(() => void upkeepQuietly(this), UPKEEP_MS).unref();
			void upkeepQuietly(this);
			this.lifting = null;
			this.fenceTimer = setInterval(() => void liftOnce(this), FENCE_MS).unref();
		},
		async stopped() {
			clearInterval(this.upkeepTimer);
			clearInterval(this.fenceTimer);
			await this.audits?.stop();
			await this.upkeep?.catch(() => undefined);
			await this.lifting;
		},
	});
}

/** Fences that nobody alive stands for; one round at a time. Never rejects. */
function liftOnce(service: Service & Vars): Promise<void> {
	service.lifting ??= liftFences(service).finally(() => {
		service.lifting = null;
	});
	return service.lifting;
}

async function liftFences({ broker, clusters, logger, routing: cached }: Service & Vars): Promise<void> {
	const onMap = (map: RoutingMap) => cached.take(map);
	try {
		const { lifted, errors } = await liftDeadFences({ clusters, node: broker.nodeID, nowMs: Date.now, onMap });
		for (const name of lifted) logger.warn(`lifted the fence of ${name}: its mover is gone`);
		for (const error of errors) logger.debug(`looking for fences: ${error}`);
		if (lifted.length > 0) await broadcast(broker, "shard.map.changed", { version: cached.current.version });
	} catch (error) {
		logger.debug(`fences could not be looked for: ${error}`);
	}
}

function registryOf({ clusters, routing: cached }: Service & Vars): RegistryDeps {
	return { clusters, nowMs: Date.now, onMap: (map) => cached.take(map) };
}

/** The others hear of a map at once; also when this process had heard of it first. */
async function tell({ broker, routing: cached }: Service & Vars, map: RoutingMap): Promise<void> {
	cached.take(map);
	await broadcast(broker, "shard.map.changed", { version: map.version });
}

/** Asks each worker for its own, with the caller's credential. */
function delaysOfWorkers(ctx: Context<unknown, Meta>): Promise<WorkerDelays[]> {
	const ask = async (node: string) => {
		const delays = await answerWithin(WORKER_MS, call(ctx, "alarm.consume.delays", {}, { nodeID: node }));
		return { node, delays };
	};
	return Promise.all(nodesWith(ctx.broker, "alarm.consume").map(ask));
}

/** One round at a time in this process; several processes at once agree by compare-and-set. */
function upkeepOnce(service: Service & Vars): Promise<string[]> {
	service.upkeep ??= doUpkeep(service).finally(() => {
		service.upkeep = null;
	});
	return service.upkeep;
}

async function doUpkeep(service: Service & Vars): Promise<string[]> {
	await service.routing.reload();
	const before = service.routing.current;
	const { map, created, errors } = await ensureCollections(service.clusters, before, new Date());
	service.routing.take(map);
	for (const error of errors) service.logger.warn(`a collection could not be made: ${error}`);
	await indexOnce(service);
	await finishRetiring(service);
	const { version } = service.routing.current;
	if (version > before.version) await broadcast(service.broker, "shard.map.changed", { version });
	const credentials = await loadCredentials(service.clusters);
	if (credentials !== null) await copyCredentials(service.clusters, credentials);
	return created;
}

async function finishRetiring(service: Service & Vars): Promise<void> {
	const { retired, errors } = await finishRetirements(registryOf(service));
	if (retired.length > 0) service.logger.info(`retired the clusters ${retired.join(", ")}: they are empty`);
	for (const error of errors) service.logger.warn(`a cluster could not be retired yet: ${error}`);
}

async function indexOnce(service: Service & Vars): Promise<void> {
	if (service.isIndexed) return;
	const errors = await ensureShardIndexes(service.clusters, service.routing.current);
	for (const error of errors) service.logger.warn(`an index could not be made: ${error}`);
	service.isIndexed = errors.length === 0;
}

async function upkeepQuietly(service: Service & Vars): Promise<void> {
	try {
		const created = await upkeepOnce(service);
		if (created.length > 0) service.logger.info(`made ${created.length} collections: ${created.join(", ")}`);
	} catch (error) {
		service.logger.warn(`upkeep of the map failed and is tried again: ${error}`);
	}
}
