import {
	addDays,
	dayOf,
	dayStartMs,
	daysBefore,
	daysFrom,
	daysUntil,
	type Month,
	monthsFrom,
} from "../time/periods.ts";

/**
 * The one list of every kind of collection that a shard or a cluster holds. Creating, moving, archiving, erasing,
 * checking and backing up read only this list; a test fails on a collection in the databases that is not in it.
 */
export interface CatalogEntry {
	kind: string;
	/** `any`: one of another kind, whose name follows an epoch: `retained_move_e5_users`. */
	period: "month" | "day" | "none" | "any";
	/** WiredTiger settings; 8 KB leaves where inserts are random (measured: more inserts per second once the data outgrows the cache). */
	engine: string | null;
	/** How many periods are made ahead of time; -1: not even the current one. */
	ahead: number;
	/** The name ends with an epoch of the shard. */
	epoch?: boolean;
	/** Beside the clustered `_id`; never unique, so that `_id` stays the only key that an insert can meet. */
	indexes?: readonly { readonly name: string; readonly key: Readonly<Record<string, 1 | -1>> }[];
}

const SMALL_LEAVES = "leaf_page_max=8KB";

export const SHARD_CATALOG = {
	/** Alarms and tombstones of one month. Two months ahead: an alarm may be for 30 days later. */
	alarms: { kind: "alarms", period: "month", engine: SMALL_LEAVES, ahead: 2 },
	/** Idempotency keys of the alarms that were accepted on one day. */
	keys: { kind: "keys", period: "day", engine: SMALL_LEAVES, ahead: 2 },
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
	/** A row per month that is being archived, and one of the shard itself while it moves: since when its changes are read, and their marker. */
	moves: { kind: "moves", period: "none", engine: null, ahead: 0 },
	/** The source of an archived month, renamed away and kept for a while before it is dropped. Never made, only renamed. */
	retained_archive: { kind: "retained_archive", period: "month", engine: null, ahead: -1 },
	/** On the cluster that a shard is moving to: a collection that is being filled, by whoever has the epoch. */
	incoming: { kind: "incoming", period: "any", engine: null, ahead: -1 },
	/** On the cluster that a shard has left: kept for a while. Never made, only renamed. */
	retained_move: { kind: "retained_move", period: "any", engine: null, ahead: -1 },
} as const satisfies Record<string, CatalogEntry>;

/** On the shard's archive cluster, in a database of their own (`alarm_a07`), so that it may be a service cluster too. */
export const ARCHIVE_CATALOG = {
	/** Alarms and tombstones of one month, written once in the order of `_id`: 62 bytes an alarm instead of 282. */
	alarms: { kind: "alarms", period: "month", engine: "block_compressor=zstd,leaf_page_max=128KB", ahead: -1 },
	/** One that is being filled; the epoch in its name keeps off whoever filled it before. */
	copy: { kind: "copy", period: "month", engine: "block_compressor=zstd,leaf_page_max=128KB", ahead: -1, epoch: true },
} as const satisfies Record<string, CatalogEntry>;

export const CLUSTER_CATALOG = {
	/** Copies of the versioned documents of the meta database. */
	documents: { kind: "documents", period: "none", engine: null, ahead: 0 },
	/** One row per batch that was stored: what was accepted, to be compared with what is there. */
	ledger: { kind: "ledger", period: "day", engine: null, ahead: 2 },
	/** Accepted batches that the queue could not take; empty on a good day. */
	outbox: { kind: "outbox", period: "none", engine: null, ahead: 0 },
	/** Who may do what only one process may do at a time on this cluster: a row per duty. */
	leases: { kind: "leases", period: "none", engine: null, ahead: 0 },
	/** What a cluster that is being added must keep to is tried out on this one; it is gone after that. */
	trial: { kind: "trial", period: "none", engine: null, ahead: -1 },
} as const satisfies Record<string, CatalogEntry>;

/** Ledger days are kept a week. */
export const LEDGER_DAYS = 7;

export const CLUSTER_DATABASE = "alarm_cluster";
export const META_DATABASE = "alarm_meta";

export const META_CATALOG = {
	/** Routing map, credentials, low-watermark: small documents with a version. */
	documents: { kind: "documents", period: "none", engine: null, ahead: 0 },
	/** What the archive mover does and has done: a row per run. */
	runs: { kind: "runs", period: "none", engine: null, ahead: 0 },
	/** What each version of the routing map has changed, and who. */
	history: { kind: "history", period: "none", engine: null, ahead: 0 },
	/** Plans that were shown to operators in the last minutes. */
	plans: { kind: "plans", period: "none", engine: null, ahead: 0 },
} as const satisfies Record<string, CatalogEntry>;

export function shardDatabase(shard: number): string {
	return `alarm_s${String(shard).padStart(2, "0")}`;
}

export function archiveDatabase(shard: number): string {
	return `alarm_a${String(shard).padStart(2, "0")}`;
}

export function retainedArchiveOf(month: Month): string {
	return `retained_archive_${month}`;
}

/** Of the collection `name` while its shard moves, at the target. */
export function incomingOf(name: string, epoch: number): string {
	return `incoming_e${epoch}_${name}`;
}

/** Of the collection `name` after its shard has moved, at the source. */
export function retainedMoveOf(name: string, epoch: number): string {
	return `retained_move_e${epoch}_${name}`;
}

/** The name behind an `incoming_` or `retained_move_`, and its epoch; null for any other. */
export function movedName(name: string): { kind: "incoming" | "retained_move"; epoch: number; name: string } | null {
	const [, kind, epoch, inner] = /^(incoming|retained_move)_e(\d+)_(.+)$/.exec(name) ?? [];
	if (kind === undefined || inner === undefined) return null;
	return { kind: kind as "incoming" | "retained_move", epoch: Number(epoch), name: inner };
}

export function copyOf(month: Month, epoch: number): string {
	return `copy_${month}_e${epoch}`;
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

export function keysOf(day: string): string {
	return `keys_${day}`;
}

/** Days whose keys are among the collections `names`, oldest first. */
function keyDays(names: string[]): string[] {
	const matches = names.map((name) => /^keys_(\d{4}_\d\d_\d\d)$/.exec(name)?.[1]);
	return matches.filter((day) => day !== undefined).sort();
}

/** Key days that nobody made in time (the router was away) are made up for so far back: alarms of theirs may still wait. */
export const KEY_DAYS_BACK = 7;

/** The first key day that a shard with the collections `names` must have: yesterday, because today's requests look there, or an older one. */
function firstKeyDay(names: string[], nowMs: number): string {
	const today = dayOf(nowMs);
	const yesterday = addDays(today, -1);
	const [oldest = yesterday] = keyDays(names);
	const limit = addDays(today, -KEY_DAYS_BACK);
	return oldest > yesterday ? yesterday : oldest < limit ? limit : oldest;
}

/** Names of past key days that a shard must have beside what is due; what has expired by `watermarkMs` is over. */
export function keyDaysBehind(names: string[], nowMs: number, watermarkMs: number | null): string[] {
	const behind = daysUntil(firstKeyDay(names, nowMs), dayOf(nowMs)).map(keysOf);
	const expired = watermarkMs === null ? [] : keyDaysExpired(behind, watermarkMs);
	return behind.filter((name) => !expired.includes(name));
}

/** Whether a key day without a collection is still to be made (wait for it) or over (nobody can tell any more what its keys stood for). */
export function keyDayIsComing(day: string, names: string[], nowMs: number): boolean {
	return day >= firstKeyDay(names, nowMs) && day <= addDays(dayOf(nowMs), SHARD_CATALOG.keys.ahead);
}

/**
 * Key collections among `names` that nobody needs any more: the day's end lies 24 h before the low-watermark, so that nothing of the
 * day after, whose requests look here, is on its way either.
 */
export function keyDaysExpired(names: string[], watermarkMs: number): string[] {
	const expired = keyDays(names).filter((day) => dayStartMs(addDays(day, 2)) <= watermarkMs);
	return expired.map(keysOf);
}

/** Names of what must exist at `nowMs`, with the holding each belongs to. */
export function due(catalog: Record<string, CatalogEntry>, nowMs: number): { name: string; entry: CatalogEntry }[] {
	return Object.values(catalog).flatMap((entry) => periodsOf(entry, nowMs).map((name) => ({ name, entry })));
}

function periodsOf(entry: CatalogEntry, nowMs: number): string[] {
	if (entry.ahead < 0) return [];
	if (entry.period === "none") return [entry.kind];
	const periods = entry.period === "month" ? monthsFrom(nowMs, entry.ahead) : daysFrom(nowMs, entry.ahead);
	return periods.map((period) => `${entry.kind}_${period}`);
}

/** The holding a collection name belongs to, or null for a stranger. */
export function catalogEntryOf(catalog: Record<string, CatalogEntry>, name: string): CatalogEntry | null {
	return Object.values(catalog).find((entry) => namePattern(entry).test(name)) ?? null;
}

const MONTH_SUFFIX = "_\\d{4}_\\d\\d";
const DAY_SUFFIX = "_\\d{4}_\\d\\d_\\d\\d";

function namePattern({ kind, period, epoch }: CatalogEntry): RegExp {
	const suffix = {
		none: "",
		month: MONTH_SUFFIX,
		day: DAY_SUFFIX,
		any: `_e\\d+_[a-z]+(${DAY_SUFFIX}|${MONTH_SUFFIX}|)`,
	}[period];
	return new RegExp(`^${kind}${suffix}${epoch ? "_e\\d+" : ""}$`);
}

/** Ledger collections among `names` that are wholly older than a week. */
export function ledgerExpired(names: string[], nowMs: number): string[] {
	const oldest = daysFrom(daysBefore(nowMs, LEDGER_DAYS), 0).map(ledgerOf)[0] ?? "";
	return names.filter((name) => catalogEntryOf(CLUSTER_CATALOG, name)?.kind === "ledger" && name < oldest);
}
