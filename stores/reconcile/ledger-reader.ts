import type { Document } from "mongodb";
import type { NumberRange } from "../../domain/alarms/batch-numbers.ts";
import { ID_BYTES } from "../../domain/alarms/ids.ts";
import type { AccountRow } from "../../domain/jobs/reconcile.ts";
import {
	CLUSTER_CATALOG,
	CLUSTER_DATABASE,
	catalogEntryOf,
	ledgerOf,
} from "../../domain/routing/collection-catalog.ts";
import type { Cluster } from "../mongo/cluster.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { toBuffer } from "../mongo/commands.ts";
import { readPatiently, type Silent } from "./majority-read.ts";

/** Reads the ledger of several days and clusters as one, in the order of its batches, with flat memory. */

/** One ledger day on one cluster. */
export interface LedgerDay {
	cluster: Cluster;
	collection: string;
	day: string;
	/** Rows that it holds, roughly, and their bytes. */
	rows: number;
	bytes: number;
}

/** One batch of the ledger. */
export interface SweptBatch {
	epoch: string;
	number: number;
	atMs: number;
	/** Of a day whose ids are wanted; otherwise there are none here. */
	isInside: boolean;
	ids: Buffer[];
	/** Ids that were taken out with their customer. */
	erased: number;
}

/** What all sweeps of a run share. */
export interface Sweep {
	clusters: Clusters;
	silent: Silent;
	/** Ids are read of rows of these days; of others only the number, which fills a gap. */
	isInside: (day: string) => boolean;
}

/** Rows read at once from one day: 6 KB each at most. */
const ROWS = 100;

/** The ledger days from `firstDay` on, on every service cluster, whether the routing map knows them or not. */
export async function ledgerDays({ clusters, silent }: Sweep, firstDay: string): Promise<LedgerDay[]> {
	const days: LedgerDay[] = [];
	for (const cluster of clusters.service.values()) {
		const names = await namesOn(cluster, silent);
		for (const collection of names.filter((name) => name >= ledgerOf(firstDay)))
			days.push(await sizedDay(cluster, silent, collection));
	}
	return days;
}

async function namesOn(cluster: Cluster, silent: Silent): Promise<string[]> {
	// Far fewer than come in one batch: a week of days and a few more.
	const command = { listCollections: 1, nameOnly: true, cursor: { batchSize: 1_000 } };
	const reply = await readPatiently(cluster, silent, CLUSTER_DATABASE, command);
	const names = ((reply?.cursor.firstBatch ?? []) as { name: string }[]).map(({ name }) => name);
	return names.filter((name) => catalogEntryOf(CLUSTER_CATALOG, name)?.kind === CLUSTER_CATALOG.ledger.kind).sort();
}

async function sizedDay(cluster: Cluster, silent: Silent, collection: string): Promise<LedgerDay> {
	const stats = await readPatiently(cluster, silent, CLUSTER_DATABASE, { collStats: collection });
	const day = collection.slice(ledgerOf("").length);
	return { cluster, collection, day, rows: Number(stats?.count ?? 0), bytes: Number(stats?.size ?? 0) };
}

/** The accounts of all processes. They lie among the rows of their batches: each is found by leaping over those. */
export async function readAccounts(sweep: Sweep, days: LedgerDay[]): Promise<AccountRow[]> {
	const accounts: AccountRow[] = [];
	for (const day of days) {
		for (let from = ""; ; ) {
			const [next] = await rowsOf(sweep, day, { _id: { $gte: from } }, 1, { _id: 1 });
			if (next === undefined) break;
			const epoch = epochOf(next._id);
			const [account] = await rowsOf(sweep, day, { _id: `${epoch}:account` }, 1);
			if (account !== undefined) accounts.push(toAccount(account, day.day));
			// The first text behind all that begin with "<epoch>:".
			from = `${epoch};`;
		}
	}
	return accounts;
}

type LedgerDocument = Document & { _id: string };

async function rowsOf(
	{ silent }: Sweep,
	{ cluster, collection }: LedgerDay,
	filter: Document,
	limit: number,
	projection: Document = {},
): Promise<LedgerDocument[]> {
	const order = { sort: { _id: 1 }, limit, batchSize: limit, singleBatch: true, projection };
	const reply = await readPatiently(cluster, silent, CLUSTER_DATABASE, { find: collection, filter, ...order });
	return (reply?.cursor.firstBatch ?? []) as LedgerDocument[];
}

function epochOf(rowId: string): string {
	return rowId.slice(0, rowId.lastIndexOf(":"));
}

function toAccount({ epoch, settled, voids, at }: Document, day: string): AccountRow {
	return { epoch, day, settled, voids: voids as NumberRange[], atMs: (at as Date).getTime() };
}

/**
 * Every batch of these days, once, process by process and in the order of its numbers. A batch may have a row on two clusters or days:
 * a cluster was away in between, or its relay came after midnight.
 */
export async function* sweepBatches(sweep: Sweep, days: LedgerDay[]): AsyncGenerator<SweptBatch> {
	const readers = days.map((day) => new DayReader(sweep, day));
	for (;;) {
		for (const reader of readers) await reader.fill();
		const heads = readers.flatMap(({ head }) => (head === undefined ? [] : [head]));
		const first = heads.reduce<string | null>((least, { _id }) => (least === null || _id < least ? _id : least), null);
		if (first === null) return;
		const same = readers.filter(({ head }) => head?._id === first).map((reader) => reader.take());
		// Accounts lie among them.
		if (/:\d+$/.test(first)) yield toBatch(first, same);
	}
}

/** The rows of one day on one cluster, a few at a time. */
class DayReader {
	readonly #sweep: Sweep;
	readonly #day: LedgerDay;
	#rows: LedgerDocument[] = [];
	#at = 0;
	#after = "";
	#isOver = false;

	constructor(sweep: Sweep, day: LedgerDay) {
		this.#sweep = sweep;
		this.#day = day;
	}

	get head(): LedgerDocument | undefined {
		return this.#rows[this.#at];
	}

	take(): LedgerDocument {
		const row = this.#rows[this.#at++];
		if (row === undefined) throw new Error("there is no row to take");
		return row;
	}

	async fill(): Promise<void> {
		if (this.#at < this.#rows.length || this.#isOver) return;
		const projection = this.#sweep.isInside(this.#day.day) ? { ids: 1, at: 1, erased: 1 } : { at: 1 };
		this.#rows = await rowsOf(this.#sweep, this.#day, { _id: { $gt: this.#after } }, ROWS, projection);
		this.#at = 0;
		this.#after = this.#rows.at(-1)?._id ?? this.#after;
		this.#isOver = this.#rows.length < ROWS;
	}
}

function toBatch(rowId: string, rows: LedgerDocument[]): SweptBatch {
	const withIds = rows.find(({ ids }) => ids !== undefined);
	// A row without a time can only be old: every worker writes one.
	const atMs = Math.min(...rows.map(({ at }) => (at instanceof Date ? at.getTime() : 0)));
	const ids = withIds === undefined ? [] : cutIds(toBuffer(withIds.ids as Uint8Array));
	const number = Number(rowId.slice(rowId.lastIndexOf(":") + 1));
	return { epoch: epochOf(rowId), number, atMs, isInside: withIds !== undefined, ids, erased: withIds?.erased ?? 0 };
}

function cutIds(joined: Buffer): Buffer[] {
	return Array.from({ length: joined.length / ID_BYTES }, (_, at) =>
		joined.subarray(at * ID_BYTES, (at + 1) * ID_BYTES),
	);
}
