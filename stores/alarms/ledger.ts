import type { Document } from "mongodb";
import type { Lane } from "../../contracts/alarm.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { BatchAccount } from "../../domain/alarms/batch-numbers.ts";
import { DUPLICATE_KEY, insertResults, type WriteReply } from "../../domain/alarms/write-results.ts";
import { isOpen } from "../../domain/routing/clusters.ts";
import { CLUSTER_DATABASE, ledgerOf } from "../../domain/routing/collection-catalog.ts";
import { clusterTarget, type Target } from "../../domain/routing/routing.ts";
import { dayOf } from "../../domain/time/periods.ts";
import { inTime, TooLate } from "../../lib/timeout.ts";
import type { CircuitBreaker } from "../mongo/circuit-breakers.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { uuidBinary } from "../mongo/collections.ts";
import { insertInto } from "../mongo/commands.ts";
import { MAJORITY } from "../mongo/write-concern.ts";

/** One batch whose items are stored or parked: who made it, its gapless number, its ids. Compared with the slots, it proves that nothing was lost. */
export interface LedgerRow {
	epoch: string;
	number: number;
	lane: Lane;
	ids: Uint8Array[];
	counts: { stored: number; duplicate: number; failed: number; parked: number };
	/** When the batch was published; names the ledger day, so that a redelivery finds the same one. */
	publishedAtMs: number;
}

/** A cluster that is silent for so long is left for the next one. */
const ANSWER_MS = 1_500;

/**
 * Writes what a creating process has answered so far into today's ledger: a number that it settled and that has no row is a loss, also
 * when it was its last. One row per process and day; the newest account stands.
 */
export async function writeAccount(
	clusters: Clusters,
	map: RoutingMap,
	account: BatchAccount,
	nowMs: number,
): Promise<void> {
	const { epoch, settled, voids } = account;
	const set = { epoch, settled, voids, at: new Date(nowMs) };
	const first = { from: settled };
	// An older account that comes late does not replace a newer one: it meets its row as a duplicate.
	const q = { _id: `${epoch}:account`, settled: { $lte: settled } };
	const update = { q, u: { $set: set, $setOnInsert: first }, upsert: true };
	await onFirst(targetsOf(clusters, map, dayOf(nowMs)), async ({ cluster, database, collection, uuid }) => {
		const command = { update: collection, updates: [update], collectionUUID: uuidBinary(uuid), writeConcern: MAJORITY };
		const reply: WriteReply = await clusters.at(cluster).command(database, command);
		const [error] = reply.writeErrors ?? [];
		if (reply.ok !== 1 || reply.writeConcernError || (error !== undefined && error.code !== DUPLICATE_KEY))
			throw new Error("the account was not written");
	});
}

/** Does a deed at the first place where it succeeds in time. @throws what the last place had to say. */
async function onFirst(
	targets: Target[],
	work: (target: Target) => Promise<void>,
	onSilent: (cluster: string) => void = () => undefined,
): Promise<void> {
	let failure: unknown = new Error("no service cluster has a ledger for today");
	for (const target of targets) {
		try {
			return await inTime(work(target), ANSWER_MS);
		} catch (error) {
			failure = error;
			if (error instanceof TooLate) onSilent(target.cluster);
		}
	}
	throw failure;
}

interface LedgerDeps {
	clusters: Clusters;
	breaker: CircuitBreaker;
}

/** Writes rows into the ledger of their day, on the first service cluster that answers. Written before is as good. */
export async function writeLedger(deps: LedgerDeps, map: RoutingMap, rows: LedgerRow[], nowMs: number): Promise<void> {
	const days = Map.groupBy(rows, ({ publishedAtMs }) => dayOf(publishedAtMs));
	await Promise.all([...days].map(([day, ofDay]) => writeDay(deps, map, day, ofDay, nowMs)));
}

async function writeDay(
	{ clusters, breaker }: LedgerDeps,
	map: RoutingMap,
	day: string,
	rows: LedgerRow[],
	nowMs: number,
): Promise<void> {
	const documents = rows.map((row) => toDocument(row, nowMs)).sort((one, other) => (one._id < other._id ? -1 : 1));
	// A ledger day is kept a week: a batch that comes later than that goes to today's.
	const targets = targetsOf(clusters, map, day).concat(targetsOf(clusters, map, dayOf(nowMs)));
	// Known to be silent: asked last, and not at all if another has answered.
	const isLast = ({ cluster }: Target) => +!breaker.isPromising(cluster);
	const inOrder = targets.toSorted((one, other) => isLast(one) - isLast(other));
	const insert = async (target: Target) => {
		const results = insertResults(await insertInto(clusters, target, documents), documents.length);
		if (!results.every((result) => result === "stored" || result === "duplicate"))
			throw new Error(`the ledger answered: ${results.join(", ")}`);
	};
	await onFirst(inOrder, insert, (cluster) => breaker.recordFailure(cluster));
}

function targetsOf(clusters: Clusters, map: RoutingMap, day: string): Target[] {
	return [...clusters.service.keys()]
		.filter((cluster) => isOpen(map, cluster))
		.map((cluster) => clusterTarget(map, cluster, CLUSTER_DATABASE, ledgerOf(day)))
		.filter((target) => target !== null);
}

function toDocument({ epoch, number, lane, ids, counts }: LedgerRow, nowMs: number): Document & { _id: string } {
	return {
		_id: `${epoch}:${String(number).padStart(12, "0")}`,
		lane,
		ids: Buffer.concat(ids),
		...counts,
		at: new Date(nowMs),
	};
}
