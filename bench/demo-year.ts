import path from "node:path";
import { CommanderError } from "commander";
import type { ArchivePlan, DueMonth } from "../contracts/archive.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import type { AlarmRow } from "../domain/alarms/rows.ts";
import { alarmsOf } from "../domain/routing/collection-catalog.ts";
import { shardTarget } from "../domain/routing/routing.ts";
import { addMonths, type Month, monthStartMs } from "../domain/time/periods.ts";
import { type Step, withProgress } from "../ops/send/progress.ts";
import { onStopSignal } from "../ops/start/signals.ts";
import { Clusters } from "../stores/mongo/clusters.ts";
import { exitWith } from "./exit.ts";
import { bytesOf } from "./months.ts";
import { SAMPLE_SIZE, storedRow, variedAlarm } from "./sample.ts";
import { type Ends, startMongods, temporaryFolder, withEnds } from "./servers.ts";
import { momentsOf, monthsBefore, shareOut } from "./year/calendar.ts";
import { byFate, differences, readAll, stillThere } from "./year/inboxes.ts";
import { leftovers } from "./year/leftovers.ts";
import { readOptions, type YearOptions } from "./year/options.ts";
import { type MonthLine, pictureOf } from "./year/picture.ts";
import { type Look, Year } from "./year/walk.ts";

// `npm run demo:year`: fifteen months of alarms, and the archive mover walking through them; at the end, are the inboxes right?

/** Thirteen are held at a time; the first of them are dropped before the end. */
const MONTHS = 15;
const READERS = 24;
/** Some customers get ten times what others get. */
const SKEW = 2.2;
const SALT = "year";

interface Scene {
	options: YearOptions;
	clusters: Clusters;
	/** By customer: what was put into the inboxes that are read at the end. */
	watched: Map<string, AlarmRow[]>;
	lines: Map<Month, MonthLine>;
	rowsGone: number;
}

async function open(options: YearOptions, signal: AbortSignal, ends: Ends): Promise<Scene> {
	const dir = await temporaryFolder("alarm-year-", ends);
	const [c0, c1, a0] = await startMongods(["c0", "c1", "a0"], dir, signal, ends);
	say(`two service databases and one for the archive, in ${path.dirname(dir)}/${path.basename(dir)}`);
	const clusters = new Clusters({
		serviceClusters: [
			{ name: "c0", uri: c0?.uri ?? "" },
			{ name: "c1", uri: c1?.uri ?? "" },
		],
		archiveClusters: [{ name: "a0", uri: a0?.uri ?? "" }],
		metaUri: c0?.uri ?? "",
	});
	ends.push(() => clusters.close());
	const readers = Array.from({ length: READERS }, (_, at) => userName(Math.floor((options.customers * at) / READERS)));
	return { options, clusters, watched: new Map(readers.map((name) => [name, []])), lines: new Map(), rowsGone: 0 };
}

async function walk(scene: Scene): Promise<number> {
	const { clusters, options } = scene;
	const { shards, serviceDays, archiveDays, alarms } = options;
	const limits = { serviceDays, archiveDays, mostDrops: MONTHS };
	const year = new Year(clusters, shards, limits, (count) => {
		scene.rowsGone += count;
	});
	const shares = shareOut(monthsBefore(Date.now(), MONTHS), alarms);
	for (const [month, count] of shares) await passMonth(scene, year, month, count);
	const [last = ""] = [...shares.keys()].slice(-1);
	await passMonth(scene, year, addMonths(last, 1), 0);
	return await verdict(scene, year, monthStartMs(addMonths(last, 1)));
}

/** A month of the simulated time: first the mover's look, then its alarms; then what it looks like now. */
async function passMonth(scene: Scene, year: Year, month: Month, count: number): Promise<void> {
	await year.begin(month);
	const plan = await year.plan();
	const touched = plan.due.map((one) => one.month);
	// As large as they have become in the service tier.
	await measure(scene, year, touched);
	const look = await withProgress(shown(month), progressOf(scene, plan, count), async () => {
		const done = await year.work(plan);
		await year.store(month, alarmsIn(scene, month, count));
		return done;
	});
	if (count > 0) scene.lines.set(month, lineOf(month, count));
	await measure(scene, year, [...touched, month]);
	console.log(`\n${lookText(look)}\n${pictureOf([...scene.lines.values()])}`);
}

function progressOf(scene: Scene, { due }: ArchivePlan, count: number): () => Step {
	const moved = new Set(due.filter(({ kind }) => kind === "archive").map(({ month }) => month));
	const total = [...moved].reduce((sum, month) => sum + (scene.lines.get(month)?.alarms ?? 0), count);
	scene.rowsGone = 0;
	return () => ({
		part: Math.min(scene.rowsGone / Math.max(total, 1), 1),
		words: `${scene.rowsGone} of ${total} alarms archived or stored`,
	});
}

function lineOf(month: Month, alarms: number): MonthLine {
	return { month, tier: "service", alarms, serviceBytes: null, archiveBytes: null };
}

function* alarmsIn({ options, watched }: Scene, month: Month, count: number): Generator<AlarmRow> {
	for (const timeMs of momentsOf(month, count, Math.random)) {
		const userId = userName(Math.floor(options.customers * Math.random() ** SKEW));
		const row = storedRow(variedAlarm(Math.floor(Math.random() * SAMPLE_SIZE), userId, timeMs), timeMs);
		watched.get(userId)?.push(row);
		yield row;
	}
}

function userName(at: number): string {
	return `${SALT}${String(at).padStart(6, "0")}`;
}

/** Asks the databases how large these months are now, in the tier where the map says that they are. */
async function measure({ clusters, lines }: Scene, year: Year, months: Month[]): Promise<void> {
	const map = await year.map();
	for (const month of new Set(months)) {
		const line = lines.get(month);
		if (line !== undefined) lines.set(month, await measured(clusters, map, line));
	}
}

async function measured(clusters: Clusters, map: RoutingMap, line: MonthLine): Promise<MonthLine> {
	const { month, alarms } = line;
	const targets = map.shards.flatMap((_, shard) => shardTarget(map, shard, alarmsOf(month)) ?? []);
	const tiers = new Set(targets.map(({ tier }) => tier));
	if (tiers.size > 1) throw new Error(`${month} lies in several tiers: ${[...tiers].join(", ")}`);
	const [tier] = tiers;
	if (tier === undefined) return { ...line, tier: "dropped" };
	const sizes = await Promise.all(targets.map((one) => bytesOf(clusters, one.cluster, one.database, one.collection)));
	const sum = (of: "rows" | "bytes") => sizes.reduce((all, size) => all + size[of], 0);
	if (sum("rows") !== alarms) throw new Error(`${month} has ${sum("rows")} alarms, and ${alarms} were put in`);
	return { ...line, tier, ...(tier === "archive" ? { archiveBytes: sum("bytes") } : { serviceBytes: sum("bytes") }) };
}

function lookText({ atMs, archived, dropped, sourcesDropped }: Look): string {
	const months = (due: DueMonth[]) => [...new Set(due.map(({ month }) => shown(month)))].join(", ");
	const actions = [
		...(archived.length > 0 ? [`archived ${months(archived)}`] : []),
		...(sourcesDropped > 0 ? [`a day later dropped its ${sourcesDropped} sources`] : []),
		...(dropped.length > 0 ? [`dropped ${months(dropped)}`] : []),
	];
	return `${new Date(atMs).toISOString().slice(0, 10)}: ${actions.join("; ") || "nothing is due"}`;
}

function shown(month: Month): string {
	return month.replace("_", "-");
}

/** Reads whole inboxes across both tiers, and holds them against what was put in. */
async function verdict(scene: Scene, year: Year, nowMs: number): Promise<number> {
	const map = await year.map();
	const wrong = [...(await wrongInboxes(scene, map, nowMs)), ...wrongCourse(scene)];
	for (const name of await leftovers(scene.clusters, map)) wrong.push(`${name} is left, and the map does not know it`);
	for (const one of wrong) console.log(`WRONG: ${one}`);
	console.log(wrong.length === 0 ? "Right: every alarm is as it was put in, once, and in order." : "Not right.");
	return wrong.length === 0 ? 0 : 1;
}

async function wrongInboxes({ clusters, watched, lines }: Scene, map: RoutingMap, nowMs: number): Promise<string[]> {
	const gone = new Set(monthsIn(lines, "dropped"));
	const wrong: string[] = [];
	let [read, absent] = [0, 0];
	for (const [userId, put] of watched) {
		const { held, dropped } = byFate(put, gone);
		const found = await readAll(clusters, map, userId, nowMs);
		wrong.push(...differences(userId, held, found), ...(await stillThere(clusters, map, dropped)));
		read += found.length;
		absent += dropped.length;
	}
	console.log(
		`\n${watched.size} inboxes read to their ends: ${read} alarms of ${monthsIn(lines, "service").length} service and ${monthsIn(lines, "archive").length} archived months; ${absent} alarms of ${gone.size} dropped months are gone`,
	);
	return wrong;
}

/** A walk on which nothing happened proves nothing. */
function wrongCourse({ lines }: Scene): string[] {
	const missing = (["service", "archive", "dropped"] as const).filter((tier) => monthsIn(lines, tier).length === 0);
	return missing.map((tier) => `no month is in tier ${tier} at the end`);
}

function monthsIn(lines: Scene["lines"], tier: MonthLine["tier"]): Month[] {
	return [...lines.values()].filter((line) => line.tier === tier).map(({ month }) => month);
}

function say(text: string): void {
	process.stderr.write(`${text}\n`);
}

async function main(): Promise<number> {
	const stop = new AbortController();
	onStopSignal(
		() => stop.abort(new Error("stopped")),
		() => process.exit(130),
	);
	try {
		const options = readOptions(process.argv.slice(2));
		return await withEnds(stop.signal, (ends) => open(options, stop.signal, ends), walk);
	} catch (error) {
		if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
		if (!stop.signal.aborted) throw error;
		say("stopped; its databases are gone");
		return 130;
	}
}

await exitWith(main);
