import { daysBefore, daysFrom, type Month, monthsFrom } from "./periods.ts";

/**
 * The one list of every kind of collection that a shard or a cluster holds. Creating, moving, archiving, erasing,
 * checking and backing up read only this list; a test fails on a collection in the databases that is not in it.
 */
export interface Holding {
	kind: string;
	period: "month" | "day" | "none";
	/** WiredTiger settings; 8 KB leaves where inserts are random (measured: more inserts per second once the data outgrows the cache). */
	engine: string | null;
	/** How many periods are made ahead of time. */
	ahead: number;
	/** Beside the clustered `_id`; never unique, so that `_id` stays the only key that an insert can meet. */
	indexes?: readonly { readonly name: string; readonly key: Readonly<Record<string, 1 | -1>> }[];
}

const SMALL_LEAVES = "leaf_page_max=8KB";

export const SHARD_HOLDINGS = {
	/** Alarms and tombstones of one month. Two months ahead: an alarm may be for 30 days later. */
	alarms: { kind: "alarms", period: "month", engine: SMALL_LEAVES, ahead: 2 },
	/** One small row per customer: read watermarks and marks below them. */
	users: { kind: "users", period: "none", engine: SMALL_LEAVES, ahead: 0 },
	/** Accepted alarms that could not be stored, with their cause. */
	failures: {
		kind: "failures",
		period: "none",
		engine: null,
		ahead: 0,
		// Newest first over all shards; many fail in one millisecond, so that the id has its part in the order.
		indexes: [{ name: "newest", key: { failedAt: -1, _id: -1 } }],
	},
} as const satisfies Record<string, Holding>;

export const CLUSTER_HOLDINGS = {
	/** Copies of the versioned documents of the meta database. */
	documents: { kind: "documents", period: "none", engine: null, ahead: 0 },
	/** One row per batch that was stored: what was accepted, to be compared with what is there. */
	ledger: { kind: "ledger", period: "day", engine: null, ahead: 2 },
	/** Accepted batches that the queue could not take; empty on a good day. */
	outbox: { kind: "outbox", period: "none", engine: null, ahead: 0 },
	/** Who may do what only one process may do at a time on this cluster: a row per duty. */
	leases: { kind: "leases", period: "none", engine: null, ahead: 0 },
} as const satisfies Record<string, Holding>;

/** Ledger days are kept a week. */
export const LEDGER_DAYS = 7;

export const CLUSTER_DATABASE = "alarm_cluster";
export const META_DATABASE = "alarm_meta";

export const META_HOLDINGS = {
	/** Routing map, credentials, low-watermark: small documents with a version. */
	documents: { kind: "documents", period: "none", engine: null, ahead: 0 },
} as const satisfies Record<string, Holding>;

export function shardDatabase(shard: number): string {
	return `alarm_s${String(shard).padStart(2, "0")}`;
}

export function alarmsOf(month: Month): string {
	return `alarms_${month}`;
}

/** Month of a collection of alarms, or null for another kind. */
export function monthOfCollection(name: string): Month | null {
	return /^alarms_(\d{4}_\d\d)$/.exec(name)?.[1] ?? null;
}

export function ledgerOf(day: string): string {
	return `ledger_${day}`;
}

/** Names of what must exist at `nowMs`, with the holding each belongs to. */
export function due(holdings: Record<string, Holding>, nowMs: number): { name: string; holding: Holding }[] {
	return Object.values(holdings).flatMap((holding) => periodsOf(holding, nowMs).map((name) => ({ name, holding })));
}

function periodsOf(holding: Holding, nowMs: number): string[] {
	if (holding.period === "none") return [holding.kind];
	const periods = holding.period === "month" ? monthsFrom(nowMs, holding.ahead) : daysFrom(nowMs, holding.ahead);
	return periods.map((period) => `${holding.kind}_${period}`);
}

/** The holding a collection name belongs to, or null for a stranger. */
export function holdingOf(holdings: Record<string, Holding>, name: string): Holding | null {
	return Object.values(holdings).find((holding) => namePattern(holding).test(name)) ?? null;
}

function namePattern({ kind, period }: Holding): RegExp {
	const suffix = { none: "", month: "_\\d{4}_\\d\\d", day: "_\\d{4}_\\d\\d_\\d\\d" }[period];
	return new RegExp(`^${kind}${suffix}$`);
}

/** Ledger collections among `names` that are wholly older than a week. */
export function ledgerExpired(names: string[], nowMs: number): string[] {
	const oldest = daysFrom(daysBefore(nowMs, LEDGER_DAYS), 0).map(ledgerOf)[0] ?? "";
	return names.filter((name) => holdingOf(CLUSTER_HOLDINGS, name)?.kind === "ledger" && name < oldest);
}
