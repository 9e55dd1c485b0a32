import type { RoutingMap } from "../../contracts/routing.ts";
import { idTimeMs } from "../../domain/alarms/ids.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import {
	ARCHIVE_CATALOG,
	alarmsOf,
	archiveDatabase,
	retainedArchiveOf,
} from "../../domain/routing/collection-catalog.ts";
import { addMonths, type Month, monthOf } from "../../domain/time/periods.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import type { Lab } from "../lab.ts";
import { arrivals, bytesOf, inTurns, putInto, type Size, targetIn } from "../months.ts";
import type { MoverQuestion, StepTimes } from "../mover.ts";
import type { CopyQuestion } from "../raw/copy.ts";
import { customersOf } from "../sample.ts";
import type { Stage } from "../stage.ts";

/** A month: a customer has some thirty alarms in it. */
const ALARMS_EACH = 30;
const BIG_SHARD = 0;
const PLAIN = { cluster: "c1", database: "plain", collection: "alarms" };
/** As many outgrow the databases' cache, as every real month does; fewer say nothing of what an ordinary collection takes in the end. */
const WHOLE_MONTH = 1_000_000;
/** Beside rows of its own (lease, move), and the server's own housekeeping. */
const FEW_DELETES = 50;

interface ArchiveSize {
	/** Alarms of the month that leaves the service tier. */
	month: number;
	/** Alarms of each of the months whose copying is timed. */
	copied: number;
}

/** What a month in the archive costs, how fast it gets there, and that its source goes without deletes. */
export async function archive(stage: Stage, size: ArchiveSize): Promise<Figure[]> {
	const clusters = new Clusters(stage.lab.config);
	try {
		return await figuresOf(stage, clusters, size);
	} finally {
		await clusters.close();
	}
}

interface Scene {
	stage: Stage;
	clusters: Clusters;
	map: RoutingMap;
	mover: Child;
}

async function figuresOf(stage: Stage, clusters: Clusters, { month, copied }: ArchiveSize): Promise<Figure[]> {
	const { lab } = stage;
	const mover = await lab.start("mover", { args: [JSON.stringify(lab.env)] });
	const scene: Scene = { stage, clusters, map: lab.map, mover };
	const places = timedPlaces(stage.rounds + 1, lab.config.logicalShards);
	const speed = await copying(scene, places, copied);
	const big = addMonths(places.at(-1)?.month ?? "", -1);
	stage.say(`archive · storing a month of ${month} alarms, clustered and ordinary`);
	await fillTwice(clusters, lab.map, big, month);
	const left = await leave(scene, big);
	await mover.stop();
	return [...speed, bytesFigure(left), dropFigure(left)];
}

interface Timed {
	shard: number;
	month: Month;
}

/** One month of one shard per round, with the newest months first. */
function timedPlaces(count: number, shards: number): Timed[] {
	const newest = addMonths(monthOf(Date.now()), -4);
	return Array.from({ length: count }, (_, at) => ({
		shard: at % shards,
		month: addMonths(newest, -Math.floor(at / shards)),
	}));
}

interface Rates {
	bare: number[];
	copied: number[];
	verified: number[];
}

/** Rows per second of the mover unpaced, against a loop that only reads and inserts. The first round does not count. */
async function copying(scene: Scene, places: Timed[], rows: number): Promise<Figure[]> {
	const { stage, map } = scene;
	const bare = await stage.lab.start("raw/copy");
	const rates: Rates = { bare: [], copied: [], verified: [] };
	for (const [round, place] of places.entries()) {
		const customers = customersOf(place.shard, map.shards.length, Math.ceil(rows / ALARMS_EACH));
		await putInto(scene.clusters, targetIn(map, place.shard, place.month), arrivals(place.month, customers, rows));
		const bareRate = await bare.ask<number>(copyQuestion(stage.lab, map, place));
		const [copied, verified] = ratesOf(await archiveIn(scene, place), rows);
		stage.say(
			`archive · ${round === 0 ? "warming" : `round ${round}/${stage.rounds}`}: bare loop ${Math.round(bareRate)}/s, copied ${Math.round(copied)}/s, copied and verified ${Math.round(verified)}/s`,
		);
		if (round === 0) continue;
		rates.bare.push(bareRate);
		rates.copied.push(copied);
		rates.verified.push(verified);
	}
	await bare.stop();
	return [
		rateFigure("archive-copy", "month copied", rates.copied, rates.bare, 0.5),
		rateFigure("archive-verify", "month copied and verified", rates.verified, rates.bare, 0.3),
	];
}

function rateFigure(key: string, name: string, samples: number[], bare: number[], reach: number): Figure {
	const ratios = samples.map((one, at) => (one / (bare[at] ?? Number.NaN)).toFixed(2));
	const baselines = [{ name: "bare read-and-insert loop", samples: bare, band: null, reach }];
	return { key, name, unit: "/s", samples, baselines, notes: [`ratios of the rounds: ${ratios.join(", ")}`] };
}

function archiveIn({ mover }: Scene, { shard, month }: Timed): Promise<StepTimes> {
	return mover.ask<StepTimes>({ kind: "archive", shard, month } satisfies MoverQuestion);
}

function copyQuestion(lab: Lab, map: RoutingMap, { shard, month }: Timed): CopyQuestion {
	const { cluster, database, collection } = targetIn(map, shard, month);
	return {
		from: { uri: uriOf(lab, cluster), database, collection },
		to: { uri: uriOf(lab, "a0"), database: "bare", collection: `s${shard}_${month}` },
		engine: ARCHIVE_CATALOG.copy.engine,
	};
}

function uriOf({ config }: Lab, cluster: string): string {
	return [...config.serviceClusters, ...config.archiveClusters].find(({ name }) => name === cluster)?.uri ?? "";
}

/** Of copying, and of copying and verifying together. */
function ratesOf({ taken = 0, copied = 0, verified = 0 }: StepTimes, rows: number): [number, number] {
	return [(rows * 1_000) / (copied - taken), (rows * 1_000) / (verified - taken)];
}

/** The same alarms in the order of their arrival, in the service tier and in an ordinary collection. */
async function fillTwice(clusters: Clusters, map: RoutingMap, month: Month, count: number): Promise<void> {
	const plain = clusters.at(PLAIN.cluster);
	const indexes = [{ name: "inbox", key: { userId: 1, createdAt: 1 } }];
	await plain.command(PLAIN.database, { create: PLAIN.collection });
	await plain.command(PLAIN.database, { createIndexes: PLAIN.collection, indexes });
	const customers = customersOf(BIG_SHARD, map.shards.length, Math.ceil(count / ALARMS_EACH));
	const target = targetIn(map, BIG_SHARD, month);
	await inTurns(arrivals(month, customers, count), async (rows) => {
		const documents = rows.map(ordinaryRow);
		const reply = await plain.command(PLAIN.database, { insert: PLAIN.collection, documents });
		if (reply.n !== rows.length) throw new Error(`the ordinary collection took ${reply.n} of ${rows.length}`);
		await putInto(clusters, target, [rows]);
	});
}

/** With an id of the server's and the moment as a field, as one would write it without thinking about it. */
function ordinaryRow({ _id, ...row }: AlarmRow) {
	return { ...row, createdAt: new Date(idTimeMs(_id)) };
}

interface Left {
	service: Size;
	plain: Size;
	archived: Size;
	steps: StepTimes;
	/** Rows that were deleted one by one: of the month, and beside it on its server. */
	removes: number;
	deleted: number;
	dropMs: number;
	/** Of the same alarms in the ordinary collection. */
	deleteMs: number;
}

/** The month goes into the archive, and its source is dropped. @throws when an alarm is missing, or anything was deleted for it. */
async function leave(scene: Scene, month: Month): Promise<Left> {
	const { stage, clusters, map, mover } = scene;
	const { cluster, database } = targetIn(map, BIG_SHARD, month);
	const service = await bytesOf(clusters, cluster, database, alarmsOf(month));
	const plain = await bytesOf(clusters, PLAIN.cluster, PLAIN.database, PLAIN.collection);
	const before = await deletedOf(clusters, cluster);
	stage.say(`archive · archiving it, unpaced`);
	const steps = await archiveIn(scene, { shard: BIG_SHARD, month });
	const archived = await bytesOf(clusters, "a0", archiveDatabase(BIG_SHARD), alarmsOf(month));
	const { removes } = await bytesOf(clusters, cluster, database, retainedArchiveOf(month));
	const dropMs = await mover.ask<number>({ kind: "drop-away" } satisfies MoverQuestion);
	const deleted = (await deletedOf(clusters, cluster)) - before;
	if (archived.rows !== service.rows) throw new Error(`${archived.rows} of ${service.rows} alarms were archived`);
	if (removes > 0 || deleted > FEW_DELETES)
		throw new Error(`the month left with ${removes} deletes of its own, ${deleted} on its server`);
	stage.say(`archive · deleting the same ${plain.rows} alarms row by row`);
	return { service, plain, archived, steps, removes, deleted, dropMs, deleteMs: await deleteRows(clusters) };
}

function bytesFigure({ service, plain, archived }: Left): Figure {
	const each = (size: Size) => size.bytes / size.rows;
	const part = (each(archived) / each(plain)).toFixed(3);
	// A month that fits into the cache is written once, an ordinary collection that does not fit again and again.
	const reach = service.rows >= WHOLE_MONTH ? 2.86 : null;
	return {
		key: "archive-bytes",
		name: "bytes per archived alarm",
		unit: " B",
		lessIsBetter: true,
		samples: [each(archived)],
		baselines: [
			{ name: "ordinary, {userId, createdAt}", samples: [each(plain)], band: null, reach },
			{ name: "service month", samples: [each(service)], band: null, reach: null },
		],
		notes: [
			`${service.rows} alarms; ${part} of the ordinary collection, where 0.35 (a ratio of 2.86) is asked for${reach === null ? " of a million alarms, which outgrow the cache" : ""}`,
		],
	};
}

function dropFigure({ service, steps, removes, deleted, dropMs, deleteMs }: Left): Figure {
	const { settled = Number.NaN, switched = Number.NaN, verified = Number.NaN } = steps;
	const [copyRate, wholeRate] = ratesOf(steps, service.rows).map(Math.round);
	return {
		key: "archive-drop",
		name: `dropping ${service.rows} alarms`,
		unit: " ms",
		lessIsBetter: true,
		samples: [dropMs],
		baselines: [
			{ name: "a second", samples: [1_000], band: null, reach: 1 },
			{ name: "deleting them row by row", samples: [deleteMs], band: null, reach: null },
		],
		notes: [
			`with its duty and both changes of the map; ${removes} rows of the month were deleted, and ${deleted} others on its server meanwhile (lease, move)`,
			`the whole month in ${(settled / 1_000).toFixed(1)} s: copied at ${copyRate}/s, copied and verified at ${wholeRate}/s; from verified to switched ${(switched - verified).toFixed(0)} ms`,
		],
	};
}

async function deletedOf(clusters: Clusters, cluster: string): Promise<number> {
	const { metrics } = await clusters.at(cluster).command("admin", { serverStatus: 1 });
	return Number(metrics.document.deleted);
}

/** Small slices, because a command may take five seconds. */
async function deleteRows(clusters: Clusters): Promise<number> {
	const { cluster, database, collection } = PLAIN;
	const startMs = performance.now();
	const rows = { find: collection, projection: { createdAt: 1 }, sort: { _id: 1 }, skip: 50_000, limit: 1 };
	for (;;) {
		const reply = await clusters.at(cluster).command(database, { ...rows, singleBatch: true });
		const [next] = reply.cursor.firstBatch as { _id: unknown }[];
		const q = next === undefined ? {} : { _id: { $lt: next._id } };
		await clusters.at(cluster).command(database, { delete: collection, deletes: [{ q, limit: 0 }] });
		if (next === undefined) return performance.now() - startMs;
	}
}
