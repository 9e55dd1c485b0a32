import { setTimeout as sleep } from "node:timers/promises";
import type { RoutingMap } from "../contracts/routing.ts";
import { nextId, shardOf, userHash, userRange } from "../domain/alarms/ids.ts";
import {
	hasArrived,
	isToErase,
	OWNED_FIELDS,
	type OwnedRow,
	type Removed,
	type Swept,
	sweptOfArchive,
	sweptOfShard,
	withoutOwner,
} from "../domain/jobs/erase.ts";
import {
	archiveDatabase,
	CLUSTER_CATALOG,
	CLUSTER_DATABASE,
	catalogEntryOf,
	shardDatabase,
} from "../domain/routing/collection-catalog.ts";
import { shardPlace, type Target } from "../domain/routing/routing.ts";
import type { Cluster } from "../stores/mongo/cluster.ts";
import { listCollections } from "../stores/mongo/collections.ts";
import { deleteByIds, findIn, isMoved, toBuffer, updateOne } from "../stores/mongo/commands.ts";
import { readLowWatermark } from "../stores/routing/low-watermark.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import { type LockDeps, ShardBusy, type ShardLock, takeShardLock } from "./lock/shard-lock.ts";

/**
 * Removes one customer. A sweep goes through everything that holds its rows; then all that was accepted before the erase began has to
 * arrive (parking may take days), and a second sweep removes that. A sweep takes away only what was accepted before the low-watermark,
 * and the ids out of the ledgers before any slot: so at no moment does a ledger row name an id whose slot was erased, and a
 * reconciliation finds nothing missing. The shard's duty keeps archiving and dropping off while a sweep runs, not in between.
 */
export interface EraseDeps extends LockDeps {
	/** Waits until so many more rows may be read. */
	pace: (rows: number) => Promise<void>;
	/** Hears what has been removed so far. */
	onProgress: (removed: Removed) => void;
	/** Ends it early, between two chunks. */
	signal: AbortSignal;
	/** How long to wait in one go for what is on its way. */
	waitMs: number;
}

export interface EraseWork {
	run: string;
	userId: string;
	/** By the databases' clock: that of a process may be behind. */
	startedAtMs: number;
	/** The last step of an earlier try: the first sweep is not done twice. */
	after?: EraseStep | null;
	/** By earlier tries. */
	removed?: Removed | null;
}

export const ERASE_STEPS = [
	"taken",
	"ledgers swept",
	"swept",
	"arrived",
	"taken again",
	"ledgers swept again",
	"swept again",
] as const;
export type EraseStep = (typeof ERASE_STEPS)[number];

/** What was accepted before the erase began may still be on its way: to be tried again in a while. */
export class StillArriving extends Error {
	override readonly name = "StillArriving";
	constructor(startedAtMs: number, watermarkMs: number | null) {
		const stand = watermarkMs === null ? "no worker has said what has arrived" : `all before ${iso(watermarkMs)} has`;
		super(`what was accepted before ${iso(startedAtMs)} may not have arrived yet: ${stand}`);
	}
}

function iso(ms: number): string {
	return new Date(ms).toISOString();
}

/** What one call carries along. */
interface Erase {
	deps: EraseDeps;
	work: EraseWork;
	shard: number;
	/** What the customer's ids begin with. */
	owner: Buffer;
	removed: Removed;
}

/**
 * One step at a time; tells at its end what was removed. Cut off anywhere, it goes on when it is called again.
 * @throws {ShardBusy}, {StillArriving}, {LockLost}, {Fault} UNAVAILABLE: to be tried again; it ends only when every place was swept twice.
 */
export async function* eraseCustomer(deps: EraseDeps, work: EraseWork): AsyncGenerator<EraseStep, Removed, void> {
	const { shards } = await newestMap(deps.clusters);
	const owner = userHash(work.userId);
	const erase = { deps, work, shard: shardOf(owner, shards.length), owner, removed: { ...work.removed } };
	if (!isSwept(work.after)) yield* sweep(erase, ["taken", "ledgers swept", "swept"], () => true);
	await waitForArrivals(erase);
	yield "arrived";
	yield* sweep(erase, ["taken again", "ledgers swept again", "swept again"], hasArrived);
	return erase.removed;
}

function isSwept(after: EraseStep | null | undefined): boolean {
	return ERASE_STEPS.indexOf(after ?? "taken") >= ERASE_STEPS.indexOf("swept");
}

const LOOK_MS = 500;

async function waitForArrivals({ deps, work }: Erase): Promise<void> {
	const endMs = performance.now() + deps.waitMs;
	for (;;) {
		const watermarkMs = await readLowWatermark(deps.clusters);
		if (hasArrived(work.startedAtMs, watermarkMs)) return;
		if (performance.now() >= endMs) throw new StillArriving(work.startedAtMs, watermarkMs);
		await sleep(LOOK_MS, undefined, { signal: deps.signal });
	}
}

/** One whole sweep under the duty, which is given back at its end however it ends. */
async function* sweep(
	erase: Erase,
	[taken, ledgersSwept, swept]: [EraseStep, EraseStep, EraseStep],
	mayBegin: (startedAtMs: number, watermarkMs: number | null) => boolean,
): AsyncGenerator<EraseStep, void, void> {
	const { deps, work, shard } = erase;
	const lock = await takeShardLock(deps, shard, { kind: "erase", run: work.run });
	if (lock === null) throw new ShardBusy(shard);
	try {
		yield taken;
		// Read first: what was accepted before it has its ledger row by now.
		const watermarkMs = await readLowWatermark(deps.clusters);
		if (!mayBegin(work.startedAtMs, watermarkMs)) throw new StillArriving(work.startedAtMs, watermarkMs);
		mustKnowClusters(erase, lock.map);
		// A cluster that is away ends the sweep before the ledgers are gone through for nothing.
		await placesOf(erase);
		await sweepLedgers(erase, lock);
		yield ledgersSwept;
		await sweepPlaces(erase, lock, watermarkMs ?? 0);
	} finally {
		// Where it cannot be given back, the lease runs out.
		await lock.release().catch(() => lock.abandon());
	}
	yield swept;
}

/** What lies on a cluster that the configuration has lost cannot be swept: then the erase is not over. @throws, naming it. */
function mustKnowClusters({ deps: { clusters }, shard }: Erase, map: RoutingMap): void {
	const { cluster, collections } = shardPlace(map, shard);
	const ofMonths = Object.values(collections).flatMap((place) => place.cluster ?? []);
	for (const name of [cluster, ...ofMonths, ...Object.keys(map.clusters)]) clusters.at(name);
}

/** Before each chunk. @throws when the duty is lost, or the process is to stop. */
function mustGoOn({ deps }: Erase, lock: ShardLock): void {
	deps.signal.throwIfAborted();
	lock.mustHold();
}

function note({ deps, removed }: Erase, label: string, count: number): void {
	removed[label] = (removed[label] ?? 0) + count;
	deps.onProgress({ ...removed });
}

/** A collection to sweep, and where it is. */
type Place = Swept & { target: Target };

/** Everything of the shard on every cluster, whatever the routing map says: renamed sources and unfinished copies are in no map. */
async function placesOf({ deps: { clusters }, shard }: Erase): Promise<Place[]> {
	const all = [...clusters.service.values(), ...clusters.archive.values()];
	// Sources before copies: what is copied or compared meanwhile by somebody whose duty has ended has too much, and never too little.
	const ofShard = await listOnAll(all, shardDatabase(shard), sweptOfShard);
	return [...ofShard, ...(await listOnAll(all, archiveDatabase(shard), sweptOfArchive))];
}

async function listOnAll(all: Cluster[], database: string, sweptAmong: (names: string[]) => Swept[]): Promise<Place[]> {
	const places: Place[] = [];
	for (const cluster of all) {
		const uuids = await uuidsOn(cluster, database);
		for (const swept of sweptAmong([...uuids.keys()]))
			places.push({ ...swept, target: targetOf(cluster, database, swept.name, uuids) });
	}
	return places;
}

type Uuids = Map<string, string>;

/** The collections of a database by name, with their UUIDs. */
async function uuidsOn(cluster: Cluster, database: string): Promise<Uuids> {
	return new Map((await listCollections(cluster, database)).map(({ name, uuid }) => [name, uuid]));
}

function targetOf(cluster: Cluster, database: string, collection: string, uuids: Uuids): Target {
	return { cluster: cluster.name, database, collection, uuid: uuids.get(collection) ?? "", tier: "service" };
}

/** How often a sweep begins again because a collection was renamed or dropped under it. */
const TRIES = 5;

async function sweepPlaces(erase: Erase, lock: ShardLock, beforeMs: number): Promise<void> {
	for (let attempt = 1; ; attempt++) {
		try {
			for (const place of await placesOf(erase)) await sweepPlace(erase, lock, place, beforeMs);
			return;
		} catch (error) {
			if (!isMoved(error) || attempt === TRIES) throw error;
		}
	}
}

/** Rows looked at and deleted by one command: some 20 ms each. */
const CHUNK = 1_000;

async function sweepPlace(erase: Erase, lock: ShardLock, { kind, label, target }: Place, beforeMs: number) {
	const { deps, work } = erase;
	const { low, high } = userRange(work.userId, 0, Number.MAX_SAFE_INTEGER);
	for (let from: Buffer | null = low; from !== null; ) {
		mustGoOn(erase, lock);
		const rows = await ownedRows(erase, target, { $gte: from, $lte: high });
		const ids = rows.filter((row) => isToErase(kind, row, work.userId, beforeMs)).map(({ _id }) => _id);
		if (ids.length > 0) note(erase, label, await deleteByIds(deps.clusters, target, ids));
		await deps.pace(rows.length);
		const last = rows.at(-1);
		from = last === undefined ? null : nextId(last._id);
	}
}

async function ownedRows({ deps }: Erase, target: Target, _id: object): Promise<OwnedRow[]> {
	const inOrder = { sort: { _id: 1 }, hint: { _id: 1 }, projection: OWNED_FIELDS };
	const rows = await findIn<OwnedRow>(deps.clusters, target, { _id }, CHUNK, inOrder);
	for (const row of rows) if (row.alarm !== undefined) row.alarm = toBuffer(row.alarm);
	return rows;
}

/** Takes the customer's ids out of all ledger days of all service clusters, also of one that holds nothing else. */
async function sweepLedgers(erase: Erase, lock: ShardLock): Promise<void> {
	for (const cluster of erase.deps.clusters.service.values()) {
		const uuids = await uuidsOn(cluster, CLUSTER_DATABASE);
		for (const name of [...uuids.keys()].filter(isLedger).sort())
			await sweepLedger(erase, lock, targetOf(cluster, CLUSTER_DATABASE, name, uuids)).catch(unlessMoved);
	}
}

function isLedger(name: string): boolean {
	return catalogEntryOf(CLUSTER_CATALOG, name)?.kind === CLUSTER_CATALOG.ledger.kind;
}

/** A ledger day that was over meanwhile is gone whole. */
function unlessMoved(error: unknown): void {
	if (!isMoved(error)) throw error;
}

interface LedgerIds {
	_id: string;
	/** None in an account, which lies among the rows. */
	ids?: Uint8Array;
}

/** Ledger rows read at once: some 6 KB each, 20 at most. */
const LEDGER_ROWS = 400;

async function sweepLedger(erase: Erase, lock: ShardLock, target: Target): Promise<void> {
	const { clusters, pace } = erase.deps;
	const inOrder = { sort: { _id: 1 }, hint: { _id: 1 }, projection: { ids: 1 } };
	for (let after = ""; ; ) {
		mustGoOn(erase, lock);
		const rows = await findIn<LedgerIds>(clusters, target, { _id: { $gt: after } }, LEDGER_ROWS, inOrder);
		const last = rows.at(-1);
		if (last === undefined) return;
		for (const row of rows) await takeOut(erase, target, row);
		after = last._id;
		await pace(rows.length);
	}
}

/** The row is replaced only as it was read: an erase of another customer may be at the same one. */
async function takeOut(erase: Erase, target: Target, row: LedgerIds): Promise<void> {
	const { deps, owner } = erase;
	for (let now: LedgerIds | undefined = row; now?.ids !== undefined; now = await again(erase, target, row._id)) {
		const left = withoutOwner(toBuffer(now.ids), owner);
		if (left === null) return;
		const change = { $set: { ids: left.ids }, $inc: { erased: left.erased } };
		if (await updateOne(deps.clusters, target, { _id: now._id, ids: now.ids }, change))
			return note(erase, "ledger", left.erased);
	}
}

async function again({ deps }: Erase, target: Target, _id: string): Promise<LedgerIds | undefined> {
	const [row] = await findIn<LedgerIds>(deps.clusters, target, { _id }, 1, { projection: { ids: 1 } });
	return row;
}
