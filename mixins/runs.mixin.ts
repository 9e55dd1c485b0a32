import { setTimeout as sleep } from "node:timers/promises";
import type { Service, ServiceSchema } from "moleculer";
import DbService from "moleculer-db";
import MongoAdapter from "moleculer-db-adapter-mongo";
import type { Config } from "../config.ts";
import { RUN_STATES, type Run, type RunState } from "../contracts/archive.ts";
import { DUPLICATE_KEY } from "../domain/alarms/write-results.ts";
import { ENDED, type RunChange } from "../domain/jobs/runs.ts";
import { META_CATALOG, META_DATABASE } from "../domain/routing/collection-catalog.ts";
import type { Customer, CustomerChange, RunStore } from "../jobs/runs/run-store.ts";
import { unavailable } from "../stores/mongo/cluster.ts";
import type { Clusters } from "../stores/mongo/clusters.ts";
import { ensureCollection } from "../stores/mongo/collections.ts";
import { shareClusters } from "./clusters.ts";

export interface HasRuns {
	runs: RunStore;
}

/** What the adapter adds to the driver, as far as it is used, and the client that it opens. */
interface Adapter {
	client?: { close(): Promise<void> };
	connect(): Promise<void>;
	collection: { updateOne(query: object, update: object): Promise<{ matchedCount: number }> };
	insert(entity: object): Promise<object>;
	removeMany(query: object): Promise<number>;
	count(filter: object): Promise<number>;
	beforeSaveTransformID(entity: object, idField: string): object;
}
interface Vars extends HasRuns {
	adapter: Adapter;
	/** Of moleculer-db: reads, and gives `_id` its name. */
	_find(ctx: null, params: object): Promise<(Run & { customer?: Customer })[]>;
	connecting: Promise<void>;
	isConnected: boolean;
	leaving: AbortController;
	releaseRuns: () => Promise<void>;
}
type Recorder = Service & Vars;

const META = "meta";
const ID_FIELD = "id";
const RETRY_MS = 1_000;
/** Of one customer: more than anybody asks for. */
const MOST_STOPPED = 100;

/** Options of driver 3.7, which the adapter brings along. Timeouts and write concern are those of stores/mongo/cluster.ts. */
const CLIENT_OPTIONS = {
	appName: "alarm-service-runs",
	useNewUrlParser: true,
	useUnifiedTopology: true,
	serverSelectionTimeoutMS: 2_000,
	connectTimeoutMS: 2_000,
	socketTimeoutMS: 5_000,
	heartbeatFrequencyMS: 2_000,
	retryWrites: true,
	ignoreUndefined: true,
	writeConcern: { w: "majority", j: true },
};

/**
 * Runs as entities of moleculer-db in the meta database. None of its actions is published: they would take any query of anybody on the
 * bus. Its own start waits for the database for ever: this one connects in the background.
 */
export function runs(config: Config): Partial<ServiceSchema> {
	const { actions: _crud, started: _waits, stopped: _forgets, metadata: _theirs, ...entity } = dbService();
	return {
		mixins: [entity],
		settings: { idField: ID_FIELD },
		collection: META_CATALOG.runs.kind,
		adapter: new MongoAdapter(config.metaUri, CLIENT_OPTIONS, META_DATABASE),
		async started(this: Recorder) {
			const clusters = shareClusters(this, config);
			this.releaseRuns = clusters.release;
			this.runs = storeOf(this);
			this.isConnected = false;
			this.leaving = new AbortController();
			this.connecting = connectInBackground(this, clusters.value);
		},
		async stopped(this: Recorder) {
			this.leaving?.abort();
			await this.connecting;
			await this.adapter.client?.close();
			await this.releaseRuns?.();
		},
	} as unknown as Partial<ServiceSchema>;
}

function dbService(): Partial<ServiceSchema> {
	return DbService as unknown as Partial<ServiceSchema>;
}

/** Never rejects. */
async function connectInBackground(service: Recorder, clusters: Clusters): Promise<void> {
	const { signal } = service.leaving;
	while (!service.isConnected && !signal.aborted) {
		try {
			// Made before anybody writes: an insert would make an ordinary one.
			for (const entry of Object.values(META_CATALOG))
				await ensureCollection(clusters.meta, META_DATABASE, entry.kind, entry);
			await service.adapter.connect();
			service.isConnected = true;
		} catch (error) {
			service.logger.warn(`the record of runs cannot be reached, and is tried again: ${error}`);
			await service.adapter.client?.close().catch(() => undefined);
			await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
		}
	}
}

function storeOf(service: Recorder): RunStore {
	const { adapter } = service;
	const findWhole = (query: object, limit: number) =>
		// Without a context nothing of a caller's gets into the question.
		reached(service, () => service._find(null, { query, sort: "-updatedAt", limit }));
	// Who is erased is told to nobody but the erase itself.
	const find = async (query: object, limit: number) =>
		(await findWhole(query, limit)).map(({ customer: _, ...run }): Run => run);
	return {
		list: ({ states, kind, limit }) =>
			find({ ...(states && { state: { $in: states } }), ...(kind && { kind }) }, limit),
		get: async (id) => (await find({ _id: id }, 1))[0] ?? null,
		customerOf: async (id) => (await findWhole({ _id: id }, 1))[0]?.customer ?? null,
		stoppedOf: (userId) => find({ "customer.userId": userId, state: "stopped" }, MOST_STOPPED),
		add: (run, customer) => reached(service, () => addRun(adapter, { ...run, ...(customer && { customer }) })),
		change(id, { states, node, isCanceling }, change) {
			// Null is found where there is none.
			const canceling = isCanceling === undefined ? {} : { canceling: isCanceling || null };
			const query = { _id: id, state: { $in: states }, ...(node !== undefined && { node }), ...canceling };
			return reached(service, () => changeRun(adapter, query, change));
		},
		removeEndedBefore: (moment) =>
			reached(service, () => adapter.removeMany({ state: { $in: ENDED }, endedAt: { $lt: moment } })),
		countByState: () => reached(service, () => countByState(adapter)),
	};
}

async function addRun(adapter: Adapter, run: Run): Promise<boolean> {
	try {
		await adapter.insert(adapter.beforeSaveTransformID(run, ID_FIELD));
		return true;
	} catch (error) {
		if ((error as { code?: unknown }).code === DUPLICATE_KEY) return false;
		throw error;
	}
}

/** Not by the adapter, which tells only of documents that came out different, and not of those that were found. */
async function changeRun({ collection }: Adapter, query: object, change: RunChange & CustomerChange): Promise<boolean> {
	const { id: _never, ...fields } = change;
	const { set = [], unset = [] } = Object.groupBy(Object.entries(fields), ([, value]) =>
		value === undefined ? "unset" : "set",
	);
	const $unset = Object.fromEntries(unset.map(([name]) => [name, ""]));
	const update = { $set: Object.fromEntries(set), ...(unset.length > 0 && { $unset }) };
	const { matchedCount } = await collection.updateOne(query, update);
	return matchedCount === 1;
}

async function countByState(adapter: Adapter): Promise<Record<RunState, number>> {
	const counts = RUN_STATES.map(async (state) => [state, await adapter.count({ query: { state } })] as const);
	return Object.fromEntries(await Promise.all(counts)) as Record<RunState, number>;
}

/** @throws {Fault} UNAVAILABLE when the database does not answer, or has not yet. */
async function reached<T>(service: Recorder, ask: () => Promise<T>): Promise<T> {
	if (!service.isConnected) throw unavailable(META, new Error("not connected yet"));
	try {
		return await ask();
	} catch (error) {
		throw error instanceof Error && error.name.startsWith("Mongo") ? unavailable(META, error) : error;
	}
}
