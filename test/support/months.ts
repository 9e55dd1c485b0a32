import type { RoutingMap } from "../../contracts/routing.ts";
import { newAlarmId, shardOf } from "../../domain/alarms/ids.ts";
import { type AlarmRow, type Slot, toRow } from "../../domain/alarms/rows.ts";
import { insertResults } from "../../domain/alarms/write-results.ts";
import { alarmsOf } from "../../domain/routing/collection-catalog.ts";
import { shardTarget } from "../../domain/routing/routing.ts";
import { type Month, monthStartMs } from "../../domain/time/periods.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { insertInto } from "../../stores/mongo/commands.ts";
import { ensureCollections, ensureMap } from "../../stores/routing/provision.ts";
import { realNow } from "./now.ts";

/** Past months with alarms in them, as the worker would have stored them at the time. */

const MINUTE_MS = 60_000;

/** The map with all months from `first` until now: what was missed since the set-up is made up for, for a year at most. */
export async function mapSince(clusters: Clusters, first: Month, shardCount = 16): Promise<RoutingMap> {
	const begun = new Date(monthStartMs(first));
	let map = await ensureMap(clusters, shardCount, begun);
	for (const now of [begun, realNow()]) {
		const made = await ensureCollections(clusters, map, now);
		if (made.errors.length > 0) throw made.errors[0];
		map = made.map;
	}
	return map;
}

/** Names of customers of one shard. */
export function customersOf(shard: number, count: number, shardCount = 16): string[] {
	const found: string[] = [];
	for (let at = 0; found.length < count; at++) {
		if (shardOf(newAlarmId(`u${at}`, 0), shardCount) === shard) found.push(`u${at}`);
	}
	return found;
}

/** A row of a month; `at` spreads them over it. */
export function rowIn(month: Month, userId: string, at: number): AlarmRow {
	const timeMs = monthStartMs(month) + (at + 1) * MINUTE_MS;
	const alarm = {
		userId,
		category: at % 2 === 0 ? "card" : "transfer",
		title: `체크카드 결제 ${at}`,
		body: `GS25 역삼점에서 ${at * 100}원을 결제했습니다.`,
		data: { amount: at * 100, ratio: at / 7, nested: { z: 1, a: [1, 2.5, null] } },
	};
	return toRow(newAlarmId(userId, timeMs), { producer: "cards", acceptedAtMs: timeMs, alarm });
}

/** Some rows for each customer and a tombstone for every tenth row, in one month of one shard. */
export async function fillMonth(
	clusters: Clusters,
	map: RoutingMap,
	shard: number,
	month: Month,
	{ customers = 20, each = 25 } = {},
): Promise<Slot[]> {
	const rows: Slot[] = customersOf(shard, customers, map.shards.length).flatMap((userId) =>
		Array.from({ length: each }, (_, at) =>
			at % 10 === 9 ? tombstoneIn(month, userId, at) : rowIn(month, userId, at),
		),
	);
	await putRows(clusters, map, shard, month, rows);
	return rows;
}

function tombstoneIn(month: Month, userId: string, at: number): Slot {
	const { _id, producer } = rowIn(month, userId, at);
	return { _id, outcome: "expired", producer, at: new Date(monthStartMs(month)) };
}

export async function putRows(
	clusters: Clusters,
	map: RoutingMap,
	shard: number,
	month: Month,
	rows: Slot[],
): Promise<void> {
	const target = shardTarget(map, shard, alarmsOf(month));
	if (target === null) throw new Error(`no ${month} in shard ${shard}`);
	const documents = rows.toSorted((one, other) => one._id.compare(other._id)) as unknown as Record<string, unknown>[];
	for (let at = 0; at < documents.length; at += 5_000) {
		const some = documents.slice(at, at + 5_000);
		const verdicts = insertResults(await insertInto(clusters, target, some), some.length);
		if (!verdicts.every((verdict) => verdict === "stored")) throw new Error(`not stored: ${verdicts}`);
	}
}
