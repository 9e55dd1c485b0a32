import type { Document } from "mongodb";
import type { Lane } from "../contracts/alarm.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import { CLUSTER_DATABASE, ledgerOf } from "../domain/holdings.ts";
import { dayOf } from "../domain/periods.ts";
import { clusterTarget, type Target } from "../domain/routing.ts";
import { insertVerdicts } from "../domain/verdicts.ts";
import type { Clusters } from "./clusters.ts";
import { insertInto } from "./shard-command.ts";

/** One batch that is safe: who made it, its gapless number, its ids. Compared with the slots, it proves that nothing was lost. */
export interface LedgerRow {
	epoch: string;
	number: number;
	lane: Lane;
	ids: Uint8Array[];
	counts: { stored: number; taken: number; failed: number };
	/** When the batch was published; names the ledger day, so that a redelivery finds the same one. */
	publishedAtMs: number;
}

/** Writes rows into the ledger of their day, on the first service cluster that answers. Written before is as good. */
export async function writeLedger(
	clusters: Clusters,
	map: RoutingMap,
	rows: LedgerRow[],
	nowMs: number,
): Promise<void> {
	const days = Map.groupBy(rows, ({ publishedAtMs }) => dayOf(publishedAtMs));
	await Promise.all([...days].map(([day, ofDay]) => writeDay(clusters, map, day, ofDay, nowMs)));
}

async function writeDay(
	clusters: Clusters,
	map: RoutingMap,
	day: string,
	rows: LedgerRow[],
	nowMs: number,
): Promise<void> {
	const documents = rows.map((row) => toDocument(row, nowMs)).sort((one, other) => (one._id < other._id ? -1 : 1));
	// A ledger day is kept a week: a batch that comes later than that goes to today's.
	const targets = targetsOf(clusters, map, day).concat(targetsOf(clusters, map, dayOf(nowMs)));
	let failure: unknown = new Error("no service cluster has a ledger for today");
	for (const target of targets) {
		try {
			const verdicts = insertVerdicts(await insertInto(clusters, target, documents), documents.length);
			if (verdicts.every((verdict) => verdict === "stored" || verdict === "taken")) return;
		} catch (error) {
			failure = error;
		}
	}
	throw failure;
}

function targetsOf(clusters: Clusters, map: RoutingMap, day: string): Target[] {
	return [...clusters.service.keys()]
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
