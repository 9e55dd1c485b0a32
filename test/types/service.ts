import { CLUSTER_KEY, CLUSTER_REQUEST, NOTHING, RECONCILE } from "../../contracts/rules.ts";
import type { HasAdmission } from "../../lib/admission.ts";
import { broadcast, call, defineService } from "../../lib/moleculer/service.ts";

// Checked by tsc and never run. Each @ts-expect-error is a mistake that must not compile; the first service must.

interface Vars extends HasAdmission {
	version: number;
}
declare const from: Parameters<typeof call>[0] & Parameters<typeof broadcast>[0];

const map = {
	access: ["operator"],
	params: NOTHING,
	async handler() {
		return { version: 1, changedAt: "", shards: [], clusters: {} };
	},
} as const;
const ensureCollections = {
	access: ["operator"],
	params: NOTHING,
	async handler() {
		return { created: [] };
	},
} as const;

const lag = {
	access: ["operator"],
	params: NOTHING,
	async handler() {
		const delay = { since: "", count: 0, p50Ms: null, p99Ms: null, maxMs: null };
		const lane = { batches: 0, parkedBatches: 0, oldestAgeMs: null, delay };
		const lanes = { realtime: lane, bulk: lane };
		const nothing = { parked: [], outbox: [], workers: [], unavailable: [] };
		return { at: "", lanes, lowWatermark: null, oldestPendingAgeMs: 0, ...nothing };
	},
} as const;

const state = { node: "", running: false, startedAt: null, endedAt: null, progress: null, report: null, error: null };
const others = {
	clusters: {
		access: ["operator"],
		params: NOTHING,
		async handler() {
			return { clusters: [], retired: {}, mapVersion: 1 };
		},
	},
	addCluster: {
		access: ["operator"],
		params: CLUSTER_REQUEST,
		async handler() {
			return { name: "", address: "", state: "added" as const, mapVersion: 1 };
		},
	},
	retireCluster: {
		access: ["operator"],
		params: CLUSTER_KEY,
		async handler() {
			return { name: "", state: "retired" as const, blockers: [], mapVersion: 1 };
		},
	},
	reconcile: {
		access: ["operator"],
		params: RECONCILE,
		async handler() {
			return state;
		},
	},
	reconcileState: {
		access: ["operator"],
		params: NOTHING,
		async handler() {
			return state;
		},
	},
} as const;

export const rightService = defineService<"shard.router", Vars>({
	name: "shard.router",
	actions: {
		map: {
			access: ["operator"],
			params: NOTHING,
			async handler(ctx, caller) {
				const reply = await call(ctx, "alarm.query.unreadCount", { userId: caller.name });
				return { version: this.version + reply.count, changedAt: "", shards: [], clusters: {} };
			},
		},
		ensureCollections,
		lag,
		...others,
	},
	events: {
		async "shard.map.changed"(ctx) {
			this.version = ctx.params.version;
		},
	},
	async started() {
		this.version = 0;
	},
});

export async function rightCalls(): Promise<number> {
	await broadcast(from, "shard.map.changed", { version: 1 });
	const page = await call(from, "alarm.query.list", { userId: "u1", limit: 5 }, { meta: { auth: "key" } });
	return page.items.length;
}

export async function wrongCalls(): Promise<void> {
	// @ts-expect-error an action that is not in the contract
	await call(from, "alarm.query.lst", { userId: "u1" });
	// @ts-expect-error a param that is missing
	await call(from, "alarm.query.get", { userId: "u1" });
	// @ts-expect-error a param of the wrong kind
	await call(from, "alarm.query.get", { userId: "u1", id: 7 });
	// @ts-expect-error a param that the contract does not know
	await call(from, "alarm.query.get", { userId: "u1", id: "x", colour: "red" });
	// @ts-expect-error no params at all
	await call(from, "alarm.query.status");
	// @ts-expect-error meta that the contract does not know
	await call(from, "alarm.query.status", { id: "x" }, { meta: { user: "u1" } });
	const status = await call(from, "alarm.query.status", { id: "x" });
	// @ts-expect-error a result that is no number
	const count: number = status;
	// @ts-expect-error a member that the result does not have
	void [count, status.colour];
}

export async function wrongEvents(): Promise<void> {
	// @ts-expect-error an event that is not in the contract
	await broadcast(from, "shard.map.chnged", { version: 1 });
	// @ts-expect-error a payload of the wrong kind
	await broadcast(from, "shard.map.changed", { version: "1" });
	// @ts-expect-error a payload that is missing
	await broadcast(from, "shard.map.changed");
}

defineService<"shard.router", Vars>({
	// @ts-expect-error the name of another service
	name: "alarm.query",
	actions: { map, ensureCollections, lag, ...others },
});

defineService<"shard.router", Vars>({
	name: "shard.router",
	// @ts-expect-error a promised action is left out
	actions: { map },
});

defineService<"shard.router", Vars>({
	name: "shard.router",
	actions: {
		map,
		ensureCollections,
		lag,
		...others,
		// @ts-expect-error an action that is not in the contract
		forget: map,
	},
});

defineService<"shard.router", Vars>({
	name: "shard.router",
	actions: {
		// @ts-expect-error nobody says who may call
		map: { params: NOTHING, handler: map.handler },
		ensureCollections,
		lag,
		...others,
	},
});

defineService<"shard.router", Vars>({
	name: "shard.router",
	actions: {
		map: {
			// @ts-expect-error a role that does not exist
			access: ["everybody"],
			params: NOTHING,
			handler: map.handler,
		},
		ensureCollections,
		lag,
		...others,
	},
});

defineService<"shard.router", Vars>({
	name: "shard.router",
	actions: {
		map,
		ensureCollections: {
			access: ["operator"],
			params: NOTHING,
			// @ts-expect-error a result of the wrong kind
			async handler() {
				return { created: [1] };
			},
		},
		...others,
	},
});

defineService<"shard.router", Vars>({
	name: "shard.router",
	actions: {
		map: {
			access: ["operator"],
			params: NOTHING,
			async handler() {
				// @ts-expect-error a member that the service does not have
				return { version: this.versoin, changedAt: "", shards: [], clusters: {} };
			},
		},
		ensureCollections,
		lag,
		...others,
	},
	events: {
		// @ts-expect-error an event that is not in the contract
		async "shard.map.chnged"() {},
	},
});

defineService<"shard.router", Vars>({
	name: "shard.router",
	actions: { map, ensureCollections, lag, ...others },
	events: {
		async "shard.map.changed"(ctx) {
			// @ts-expect-error a member that the event does not have
			this.version = ctx.params.revision;
		},
	},
});
