import { setTimeout as sleep } from "node:timers/promises";
import { CommanderError } from "commander";
import type { AuditReport } from "../contracts/audit.ts";
import type { RoutingMap } from "../contracts/routing.ts";
import type { RebalancePlan, ShardsState } from "../contracts/shards.ts";
import { exitCodeOf } from "../domain/jobs/reconcile.ts";
import { addMonths, monthEndMs, monthOf, monthStartMs } from "../domain/time/periods.ts";
import { toText, toVerdict } from "../ops/reconcile/report.ts";
import { type Step, withProgress } from "../ops/send/progress.ts";
import { onStopSignal } from "../ops/start/signals.ts";
import { Clusters } from "../stores/mongo/clusters.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import type { Child } from "./child.ts";
import { exitWith } from "./exit.ts";
import { Operator } from "./expand/operator.ts";
import { type ExpandOptions, readOptions } from "./expand/options.ts";
import { pausesOf, pictureOf } from "./expand/picture.ts";
import { type Lab, withLab } from "./lab.ts";
import type { BusyEnd, BusyPlan, BusyQuestion, BusyWindow, Pause } from "./load/busy-plan.ts";
import { putAll } from "./months.ts";
import { recount } from "./recount.ts";
import { loadLine } from "./report.ts";
import { settleResidents } from "./residents.ts";
import { SAMPLE_SIZE, storedRow, userName, variedAlarm } from "./sample.ts";

// `npm run demo:expand`: four databases become eight while the app is used; is everything there, once, and did anybody notice?

const SHARDS = 16;
const FIRST = 4;
const MORE = ["c4", "c5", "c6", "c7"];
const OLDER_MONTHS = 3;
const RESIDENTS = 20;
const RESIDENT_ALARMS = 40;
const SLICE = 20_000;
const WARM_MS = 5_000;
const LOOK_MS = 1_000;
/** Without a row that was copied, or a shard that has arrived. */
const STALL_MS = 600_000;

interface Scene {
	options: ExpandOptions;
	lab: Lab;
	operator: Operator;
	busy: Child;
	/** Alarms in the databases before the load. */
	before: number;
	signal: AbortSignal;
}

interface Seen {
	before: BusyWindow;
	/** While four more databases came up and were added. */
	adding: BusyWindow;
	moving: BusyWindow;
	after: BusyWindow;
	/** Where each shard was at first. */
	from: string[];
	movingMs: number;
}

async function demo(lab: Lab, options: ExpandOptions, signal: AbortSignal): Promise<number> {
	say(`${FIRST} service databases with ${SHARDS} shards, one for the archive, a queue, in ${lab.dir}`);
	const filled = await fill(lab, options);
	const residents = await settleResidents(lab, RESIDENTS, RESIDENT_ALARMS);
	say("starting the services: create, consume, query, mover");
	const create = await lab.startRole("create");
	await lab.startRole("consume");
	const query = await lab.startRole("query");
	const mover = await lab.startRole("mover");
	const busy = await lab.start("load/busy");
	const operator = new Operator(mover.port, lab.keys.opsKey, signal);
	const scene = { options, lab, operator, busy, before: filled + residents.alarms, signal };
	await beginLoad(scene, { createPort: create.port, queryPort: query.port, customers: residents.file });
	return await expand(scene);
}

async function beginLoad(scene: Scene, where: Pick<BusyPlan, "createPort" | "queryPort" | "customers">): Promise<void> {
	const { creations, pages, marks } = scene.options;
	const rates = { creationsPerS: creations, pagesPerS: pages, marksPerS: marks };
	const plan: BusyPlan = { ...where, ...rates, producerKey: scene.lab.keys.producerKey, shards: SHARDS };
	await scene.busy.ask({ kind: "begin", ...plan } satisfies BusyQuestion);
	say(`${creations} creations, ${pages} pages and ${marks} marks per second from now on`);
	await rest(scene, WARM_MS);
	await look(scene);
}

/** Past months, as they would have been stored at the time. */
async function fill({ config, map }: Lab, { alarms }: ExpandOptions): Promise<number> {
	const clusters = new Clusters(config);
	const months = Array.from({ length: OLDER_MONTHS }, (_, back) => addMonths(monthOf(Date.now()), -1 - back));
	let done = 0;
	const step = (): Step => ({ part: done / Math.max(alarms, 1), words: `${done} of ${alarms} alarms` });
	try {
		await withProgress("filling the databases", step, async () => {
			while (done < alarms) {
				const month = months[Math.floor((done / alarms) * OLDER_MONTHS)] ?? "";
				const count = Math.min(SLICE, alarms - done);
				await putAll(clusters, map, month, rowsIn(month, count));
				done += count;
			}
		});
		return done;
	} finally {
		await clusters.close();
	}
}

function rowsIn(month: string, count: number) {
	const startMs = monthStartMs(month);
	const lengthMs = monthEndMs(month) - startMs;
	return Array.from({ length: count }, () => {
		const timeMs = Math.floor(startMs + Math.random() * lengthMs);
		const at = Math.floor(Math.random() * 50_000);
		return storedRow(variedAlarm(at % SAMPLE_SIZE, userName(at), timeMs), timeMs);
	});
}

async function expand(scene: Scene): Promise<number> {
	const { options, operator } = scene;
	const from = (await operator.shards()).shards.map(({ cluster }) => cluster);
	await rest(scene, options.seconds * 1_000);
	const before = await look(scene);
	await addClusters(scene);
	const adding = await look(scene);
	const plan = await operator.rebalance(options.rate);
	say(planText(plan));
	const startMs = performance.now();
	await watch(scene, plan);
	const movingMs = performance.now() - startMs;
	const moving = await look(scene);
	await rest(scene, options.seconds * 1_000);
	const after = await look(scene);
	return await settle(scene, { before, adding, moving, after, from, movingMs });
}

async function addClusters({ lab, operator }: Scene): Promise<void> {
	for (const name of MORE) {
		const { uri } = await lab.startMongod(name);
		const { state } = await operator.addCluster(name, uri);
		say(`${name} is ${state}`);
	}
	console.log(`\n${pictureIn(await operator.shards())}\n`);
}

function planText({ moves }: RebalancePlan): string {
	const words = moves.map(({ shard, from, to }) => `${shard} ${from} → ${to}`);
	return `the plan has ${moves.length} moves: ${words.join(", ")}; confirmed`;
}

function pictureIn({ clusters, shards }: ShardsState): string {
	return pictureOf(
		clusters.map(({ name }) => name),
		shards,
	);
}

/** Shows each shard that starts and arrives, until all are where the plan has them. @throws when a move was refused. */
async function watch({ operator, signal }: Scene, plan: RebalancePlan): Promise<void> {
	let seen = await operator.shards();
	let [picture, part, changedMs] = ["", 0, performance.now()];
	await withProgress(
		"moving shards",
		() => stepOf(seen, plan),
		async () => {
			for (; !isDone(seen, plan); seen = await operator.shards()) {
				const [now, step] = [pictureIn(seen), stepOf(seen, plan)];
				if (now !== picture) console.log(`\n${now}\n`);
				if (now !== picture || step.part !== part) changedMs = performance.now();
				[picture, part] = [now, step.part];
				if (performance.now() - changedMs > STALL_MS) throw new Error(stallText(seen));
				await sleep(LOOK_MS, undefined, { signal });
			}
		},
	);
	console.log(`\n${pictureIn(seen)}\n`);
}

function stallText({ shards }: ShardsState): string {
	const open = shards.flatMap(({ move }) => move ?? []);
	const words = open.map(({ id, state, reason }) => `${id} is ${state}${reason ? ` (${reason.message})` : ""}`);
	return `nothing has changed for ${STALL_MS / 60_000} minutes: ${words.join("; ")}`;
}

function isDone({ shards }: ShardsState, { moves }: RebalancePlan): boolean {
	const refused = shards.find(({ move }) => move?.state === "refused")?.move;
	if (refused) throw new Error(`${refused.id} was refused: ${refused.reason?.code}: ${refused.reason?.message}`);
	return moves.every(({ shard, to }) => shards[shard]?.cluster === to && shards[shard].move === null);
}

function stepOf({ shards }: ShardsState, { moves }: RebalancePlan): Step {
	const parts = moves.map(({ shard, to }) => {
		const state = shards[shard];
		if (state?.cluster === to) return 1;
		const { done = 0, total = 0 } = state?.move?.rows ?? {};
		return total === 0 ? 0 : done / total;
	});
	const arrived = parts.filter((part) => part === 1).length;
	return {
		part: parts.reduce((sum, part) => sum + part, 0) / parts.length,
		words: `${arrived} of ${moves.length} shards have moved`,
	};
}

async function rest({ signal }: Scene, ms: number): Promise<void> {
	await sleep(ms, undefined, { signal });
}

function look({ busy }: Scene): Promise<BusyWindow> {
	return busy.ask<BusyWindow>({ kind: "window" } satisfies BusyQuestion);
}

/** Stops the load; then everything that was promised is looked for, twice: by the reconciliation, and by a count of our own. */
async function settle(scene: Scene, seen: Seen): Promise<number> {
	const { busy, operator, lab, before } = scene;
	const end = await busy.ask<BusyEnd>({ kind: "end" } satisfies BusyQuestion);
	say("the load has ended; reconciling, once everything has arrived");
	const report = await operator.reconcile();
	const clusters = new Clusters(lab.config);
	try {
		const map = await newestMap(clusters);
		const counted = await recount(clusters, map, { ...end, before });
		console.log(seenText(seen, end, map));
		console.log(toText(report));
		return verdict(end, report, [...counted.wrong, ...wrongPlaces(map)], counted.stored);
	} finally {
		await clusters.close();
	}
}

function seenText({ before, adding, moving, after, from, movingMs }: Seen, end: BusyEnd, map: RoutingMap): string {
	const lines = map.shards.map(({ cluster }, shard) => ({
		...{ shard, from: from[shard] ?? "", to: cluster },
		...{ pause: moving.pauses[shard] as Pause, before: before.pauses[shard] as Pause },
	}));
	const moved = lines.filter((line) => line.from !== line.to).length;
	const p99 = (window: BusyWindow) => `${window.p99Ms.toFixed(1)} ms`;
	return [
		`${moved} shards moved in ${(movingMs / 1_000).toFixed(0)} s, while ${moving.accepted - adding.accepted} creations were accepted and ${moving.refused} refused.`,
		`Inbox pages, p99: ${p99(before)} before, ${p99(adding)} while databases were added, ${p99(moving)} while shards moved, ${p99(after)} after (${loadLine()}).`,
		"Longest waits of writers, from when a write was due:",
		pausesOf(lines),
		`${end.ids.length} accepted in all, ${end.marks.length} alarms marked.`,
	].join("\n");
}

/** Two by two is what the demonstration is there to show. */
function wrongPlaces({ shards }: RoutingMap): string[] {
	const byCluster = Map.groupBy(shards, ({ cluster }) => cluster);
	const counts = [...byCluster].map(([name, own]) => `${own.length} on ${name}`);
	const isEven = byCluster.size === FIRST + MORE.length && [...byCluster.values()].every(({ length }) => length === 2);
	return isEven ? [] : [`the shards do not lie two by two: ${counts.join(", ")}`];
}

function verdict({ ids, refused, failed }: BusyEnd, report: AuditReport, wrong: string[], stored: number): number {
	if (refused > 0) wrong.push(`${refused} creations were refused`);
	wrong.push(...failed);
	const judged = exitCodeOf(report);
	console.log(toVerdict(report, judged));
	for (const one of wrong) console.log(`WRONG: ${one}`);
	if (wrong.length > 0) return 1;
	console.log(
		`Right: ${stored} of ${ids.length} accepted alarms are stored, each once; none was refused, no mark is lost, and ${SHARDS} shards lie two by two on ${FIRST + MORE.length} databases.`,
	);
	return judged;
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
		const work = (lab: Lab) => demo(lab, options, stop.signal);
		return await withLab(stop.signal, work, {
			clusters: FIRST,
			archive: true,
			shards: SHARDS,
			monthsBack: OLDER_MONTHS,
		});
	} catch (error) {
		if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
		if (!stop.signal.aborted) throw error;
		say("stopped; its servers are gone");
		return 130;
	}
}

await exitWith(main);
