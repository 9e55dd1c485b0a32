import { randomBytes } from "node:crypto";
import type { RoutingMap } from "../../contracts/routing.ts";
import { ID_BYTES, idTimeMs } from "../../domain/alarms/ids.ts";
import type { ArchiveFacts } from "../../domain/jobs/archive-plan.ts";
import { alarmsOf } from "../../domain/routing/collection-catalog.ts";
import { monthsPresent, shardTarget, type Target } from "../../domain/routing/routing.ts";
import type { ClockReading } from "../../domain/time/clock.ts";
import { readClock } from "../../lib/clock-reading.ts";
import { answerWithin } from "../../lib/timeout.ts";
import { isArchiveUnavailable } from "../../stores/mongo/archive-breaker.ts";
import { answered, isUnavailable } from "../../stores/mongo/cluster.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { findIn, isMoved } from "../../stores/mongo/commands.ts";
import { readLowWatermark } from "../../stores/routing/low-watermark.ts";

/** What the plan of the archive is made from. */

/** Ids are in the order of customers: the newest alarm is looked for in handfuls, at random places. */
const SEEKS = 4;
const HANDFUL = 100;
const CLOCK_MS = 1_500;
/** An operator waits for the plan: less than the driver's own patience. */
const ANSWER_MS = 2_000;

interface PlanningClock {
	nowMs: number;
	/** False for one that is made to say something else: it is then not held against the databases' clocks. */
	isReal: boolean;
}

/** @throws {Fault} UNAVAILABLE when the meta database, or every service cluster, does not answer. */
export async function gatherFacts(
	clusters: Clusters,
	map: RoutingMap,
	{ nowMs, isReal }: PlanningClock,
): Promise<ArchiveFacts> {
	const [lowWatermarkMs, newestMs, clocks] = await Promise.all([
		answered(clusters.meta.name, readLowWatermark(clusters), ANSWER_MS),
		newestStored(clusters, map),
		isReal ? clocksOf(clusters) : [],
	]);
	return { map, nowMs, lowWatermarkMs, newestMs, clocks };
}

/** Of the databases that answer. */
async function clocksOf(clusters: Clusters): Promise<ClockReading[]> {
	const all = new Set([clusters.meta, ...clusters.service.values(), ...clusters.archive.values()]);
	const asked = [...all].map((cluster) => readClock(cluster.name, () => cluster.askClock()));
	const readings = await Promise.all(asked.map((reading) => answerWithin(CLOCK_MS, reading)));
	return readings.filter((reading) => reading !== null);
}

/** Time of the newest alarm of a sample over all shards that answer, so never later than the newest there is. Null: nothing is stored. */
async function newestStored(clusters: Clusters, map: RoutingMap): Promise<number | null> {
	const newest = map.shards.map(({ cluster }, shard) =>
		answered(cluster, newestOfShard(clusters, map, shard), ANSWER_MS),
	);
	const asked = await Promise.allSettled(newest);
	const silent = asked.filter((one) => one.status === "rejected").map(({ reason }) => reason);
	const wrong = silent.find((error) => !isUnavailable(error) && !isArchiveUnavailable(error) && !isMoved(error));
	if (wrong !== undefined || silent.length === asked.length) throw wrong ?? silent[0];
	return latest(asked.filter((one) => one.status === "fulfilled").map(({ value }) => value));
}

/** In the newest month of the shard that has any: those that were made ahead are empty, or hold what is for later. */
async function newestOfShard(clusters: Clusters, map: RoutingMap, shard: number): Promise<number | null> {
	for (const month of monthsPresent(map, shard)) {
		const target = shardTarget(map, shard, alarmsOf(month));
		const foundMs = target === null ? null : await newestIn(clusters, target, placesIn(shard, map.shards.length));
		if (foundMs !== null) return foundMs;
	}
	return null;
}

/** The very beginning, and random ones within the shard's part of the key space. */
function placesIn(shard: number, shardCount: number): Buffer[] {
	const width = 256 / shardCount;
	const random = () => {
		const place = randomBytes(ID_BYTES);
		place[0] = Math.floor(shard * width + ((place[0] ?? 0) * width) / 256);
		return place;
	};
	return [Buffer.alloc(ID_BYTES), ...Array.from({ length: SEEKS }, random)];
}

async function newestIn(clusters: Clusters, target: Target, places: Buffer[]): Promise<number | null> {
	const found = await Promise.all(places.map((from) => handful(clusters, target, from)));
	return latest(found.flat());
}

/** Times of the alarms from there on that are neither tombstones nor for later: those ids tell when they were accepted. */
async function handful(clusters: Clusters, target: Target, from: Buffer): Promise<number[]> {
	const more = { sort: { _id: 1 }, projection: { outcome: 1, sendAt: 1 } };
	type Row = { _id: Buffer; outcome?: unknown; sendAt?: unknown };
	const rows = await findIn<Row>(clusters, target, { _id: { $gte: from } }, HANDFUL, more);
	const accepted = rows.filter(({ outcome, sendAt }) => outcome === undefined && sendAt === undefined);
	return accepted.map(({ _id }) => idTimeMs(_id));
}

function latest(times: (number | null)[]): number | null {
	const known = times.filter((timeMs) => timeMs !== null);
	return known.length === 0 ? null : Math.max(...known);
}
