import { setTimeout as sleep } from "node:timers/promises";
import { LANES } from "../../contracts/alarm.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { shardPlace, slotOf } from "../../domain/routing/routing.ts";
import { addMonths, type Month, monthOf } from "../../domain/time/periods.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import {
	type BusyEnd,
	type BusyPlan,
	type BusyQuestion,
	type BusyWindow,
	longer,
	noPauses,
	type Pause,
} from "../load/busy-plan.ts";
import { arrivals, putInto, targetIn } from "../months.ts";
import type { MoverQuestion, StepTimes } from "../mover.ts";
import { recount } from "../recount.ts";
import { type Residents, settleResidents } from "../residents.ts";
import { customersOf, userName } from "../sample.ts";
import type { Stage } from "../stage.ts";
import { median } from "../stats.ts";
import { untilEmpty } from "./storing.ts";

/** Lies on c0; the months of the service tier share its alarms. */
const SHARD = 0;
const TO = "c1";
const MONTHS = 4;
const ALARMS_EACH = 30;
const RESIDENTS = 50;
const RESIDENT_ALARMS = 40;
const RATES = { creationsPerS: 500, pagesPerS: 80, marksPerS: 40 };
/** As a move's pace is, unless somebody sets it. */
const ROWS_PER_S = 5_000;
/** With fewer pages a p99 is one of the very worst of them. */
const LEAST_WINDOW_MS = 8_000;
const MOST_PAUSE_MS = 2_000;
const ROUTED = 200_000;
const MOST_ROUTING_US = 5;

interface Scene {
	stage: Stage;
	clusters: Clusters;
	mover: Child;
	busy: Child;
	/** Alarms in the databases before the load begins. */
	before: number;
	/** The longest waits of each shard's writers since the load is warm. */
	pauses: Pause[];
}

/** What callers feel of a large shard that moves, and whether anything is lost by it. */
export async function moves(stage: Stage, alarms: number): Promise<Figure[]> {
	const clusters = new Clusters(stage.lab.config);
	try {
		stage.say(`moves · putting ${alarms} alarms of ${MONTHS} months into shard ${SHARD}`);
		await fillShard(clusters, stage.lab.map, alarms);
		const residents = await settleResidents(stage.lab, RESIDENTS, RESIDENT_ALARMS);
		const mover = await stage.lab.start("mover", { args: [JSON.stringify(stage.lab.env)] });
		const busy = await beginLoad(stage, residents);
		const before = alarms + residents.alarms;
		return [...(await moveUnderLoad({ stage, clusters, mover, busy, before, pauses: [] })), routing(stage)];
	} finally {
		await clusters.close();
	}
}

async function fillShard(clusters: Clusters, map: RoutingMap, alarms: number): Promise<void> {
	const months = Array.from({ length: MONTHS }, (_, back): Month => addMonths(monthOf(Date.now()), -1 - back));
	const each = alarms / MONTHS;
	const customers = customersOf(SHARD, map.shards.length, Math.ceil(each / ALARMS_EACH));
	for (const month of months) await putInto(clusters, targetIn(map, SHARD, month), arrivals(month, customers, each));
	for (const cluster of clusters.service.values()) await cluster.command("admin", { fsync: 1 });
}

async function beginLoad({ lab, say }: Stage, { file }: Residents): Promise<Child> {
	const create = await lab.startRole("create");
	await lab.startRole("consume");
	const query = await lab.startRole("query");
	const busy = await lab.start("load/busy");
	const plan: BusyPlan = {
		...{ createPort: create.port, queryPort: query.port, producerKey: lab.keys.producerKey },
		...{ customers: file, shards: lab.map.shards.length },
		...RATES,
	};
	say(`moves · ${RATES.creationsPerS} creations/s, ${RATES.pagesPerS} pages/s, ${RATES.marksPerS} marks/s`);
	await busy.ask({ kind: "begin", ...plan } satisfies BusyQuestion);
	return busy;
}

/** Pages in turns, with the mover standing still and at work; then the rest of the move, to its end. */
async function moveUnderLoad(scene: Scene): Promise<Figure[]> {
	const { stage, mover } = scene;
	await windowOf(scene);
	scene.pauses = noPauses(stage.lab.map.shards.length);
	await mover.ask({ kind: "hold" } satisfies MoverQuestion);
	const question: MoverQuestion = { kind: "move", shard: SHARD, to: TO, rowsPerSecond: ROWS_PER_S };
	const moving = mover.ask<StepTimes>(question);
	// It is waited for below; a failure meanwhile must not end the process.
	moving.catch(() => undefined);
	const pages = pageFigure(await windowsInTurns(scene));
	const rows = await mover.ask<number>({ kind: "rows" } satisfies MoverQuestion);
	if (shardPlace(await newestMap(scene.clusters), SHARD).cluster === TO) throw new Error("the shard moved too soon");
	stage.say(`moves · ${rows} rows read; on to the end`);
	await mover.ask({ kind: "go" } satisfies MoverQuestion);
	const steps = await moving;
	await windowOf(scene);
	return [pages, ...pauseFigures(scene, steps), await refuseLosses(scene, await endOf(scene), steps)];
}

interface Windows {
	quiet: BusyWindow[];
	moving: BusyWindow[];
}

async function windowsInTurns(scene: Scene): Promise<Windows> {
	const { stage, mover } = scene;
	const seen: Windows = { quiet: [], moving: [] };
	for (let round = 1; round <= stage.rounds; round++) {
		const quiet = await windowOf(scene);
		await mover.ask({ kind: "go" } satisfies MoverQuestion);
		const moving = await windowOf(scene);
		await mover.ask({ kind: "hold" } satisfies MoverQuestion);
		seen.quiet.push(quiet);
		seen.moving.push(moving);
		stage.say(
			`moves · round ${round}/${stage.rounds}: p99 of other shards' pages, quiet ${quiet.p99Ms.toFixed(1)} ms, moving ${moving.p99Ms.toFixed(1)} ms`,
		);
	}
	return seen;
}

/** What is seen from now on for one window; what was seen since the last one counts for the writers' waits alone. */
async function windowOf(scene: Scene): Promise<BusyWindow> {
	await lookAt(scene);
	await sleep(Math.max(scene.stage.windowMs, LEAST_WINDOW_MS));
	return await lookAt(scene);
}

async function lookAt(scene: Scene): Promise<BusyWindow> {
	const seen = await scene.busy.ask<BusyWindow>({ kind: "window", without: SHARD } satisfies BusyQuestion);
	scene.pauses = longer(seen.pauses, scene.pauses);
	return seen;
}

/** Stops the load, and waits until everything has arrived. */
async function endOf(scene: Scene): Promise<BusyEnd> {
	const end = await scene.busy.ask<BusyEnd>({ kind: "end" } satisfies BusyQuestion);
	scene.pauses = longer(end.pauses, scene.pauses);
	for (const lane of LANES) await untilEmpty(scene.stage.lab, lane);
	return end;
}

function pageFigure({ quiet, moving }: Windows): Figure {
	const [ours, theirs] = [moving, quiet].map((windows) => windows.map(({ p99Ms }) => p99Ms)) as [number[], number[]];
	const times = ours.map((one, at) => (one / (theirs[at] ?? Number.NaN)).toFixed(2)).join(", ");
	const p50s = [moving, quiet].map((windows) => median(windows.map(({ p50Ms }) => p50Ms)).toFixed(1));
	return {
		key: "move-pages",
		name: "page p99 of other shards while one moves",
		unit: " ms",
		lessIsBetter: true,
		samples: ours,
		baselines: [{ name: "with the mover standing still", samples: theirs, band: null, reach: 0.667 }],
		notes: [`p50 ${p50s.join(" against ")} ms; times that without, round by round: ${times}; ${ROWS_PER_S} rows/s`],
	};
}

/** As the mover has it, and as writers of its shard had it. */
function pauseFigures({ pauses }: Scene, steps: StepTimes): Figure[] {
	const own = pauses[SHARD];
	const others = pauses.filter((_, shard) => shard !== SHARD);
	const figure = (key: string, name: string, ms: number, note: string): Figure => ({
		...{ key, name, unit: " ms", lessIsBetter: true, samples: [ms], notes: [note] },
		baselines: [{ name: "two seconds", samples: [MOST_PAUSE_MS], band: null, reach: 1 }],
	});
	const most = (pick: (one: Pause) => number) => Math.round(Math.max(...others.map(pick)));
	return [
		figure(
			"move-fence",
			"from before the first fence to the switch",
			(steps.switched ?? Number.NaN) - (steps.verified ?? Number.NaN),
			`fenced ${spanText(steps, "verified", "fenced")}, drained ${spanText(steps, "fenced", "drained")}, switched ${spanText(steps, "drained", "switched")}`,
		),
		figure(
			"move-marks",
			"longest wait for a mark in the moving shard",
			own?.markMs ?? Number.NaN,
			`${own?.retried} marks were asked to come again; longest in another shard ${most(({ markMs }) => markMs)} ms`,
		),
		figure(
			"move-alarms",
			"longest from accepted to readable in the moving shard",
			own?.readableMs ?? Number.NaN,
			`longest in another shard ${most(({ readableMs }) => readableMs)} ms`,
		),
	];
}

function spanText(steps: StepTimes, from: keyof StepTimes, to: keyof StepTimes): string {
	return `${((steps[to] ?? Number.NaN) - (steps[from] ?? Number.NaN)).toFixed(0)} ms`;
}

/** @throws when anything was refused, lost, doubled or marked otherwise than was answered. */
async function refuseLosses({ clusters, before }: Scene, end: BusyEnd, steps: StepTimes): Promise<Figure> {
	const map = await newestMap(clusters);
	const { found, stored, wrong } = await recount(clusters, map, { ...end, before });
	if (end.refused > 0) wrong.push(`${end.refused} creations were refused`);
	wrong.push(...end.failed);
	if (shardPlace(map, SHARD).cluster !== TO) wrong.push(`the shard is on ${shardPlace(map, SHARD).cluster}`);
	if (wrong.length > 0) throw new Error(wrong.join("\n"));
	return {
		...{ key: "move-whole", name: "alarms stored of those accepted while it moved", unit: "", samples: [stored] },
		baselines: [{ name: "accepted", samples: [end.ids.length], band: null, reach: 1 }],
		notes: [
			`none refused; ${found} alarms on both clusters, each once; ${end.marks.length} marks as they were answered`,
			`the move took ${((steps.settled ?? Number.NaN) / 1_000).toFixed(0)} s, with the windows in which it stood still`,
		],
	};
}

/** From an id to the collection of its slot: best of several loops, because a busy machine only ever adds. */
function routing({ lab, say }: Stage): Figure {
	const nowMs = Date.now();
	const ids = Array.from({ length: 1_000 }, (_, at) => newAlarmId(userName(at * 31), nowMs));
	const loop = () => {
		let found = 0;
		const startMs = performance.now();
		for (let at = 0; at < ROUTED; at++) if (slotOf(lab.map, ids[at % ids.length] as Buffer) !== null) found++;
		if (found !== ROUTED) throw new Error(`${ROUTED - found} ids have no place`);
		return ((performance.now() - startMs) * 1_000) / ROUTED;
	};
	const loops = Array.from({ length: 10 }, loop);
	const best = Math.min(...loops);
	say(`moves · routing an id takes ${best.toFixed(2)} us`);
	return {
		...{ key: "routing", name: "routing an id", unit: " us", lessIsBetter: true, samples: [best] },
		baselines: [{ name: "five microseconds", samples: [MOST_ROUTING_US], band: null, reach: 1 }],
		notes: [`best of ${loops.length} loops of ${ROUTED}; median ${median(loops).toFixed(2)} us`],
	};
}
