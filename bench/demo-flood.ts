import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { LANES } from "../contracts/alarm.ts";
import { onStopSignal } from "../ops/start/signals.ts";
import { streamOf, WORKER } from "../streams/lanes.ts";
import type { Child } from "./child.ts";
import { exitWith } from "./exit.ts";
import { singleRequests } from "./figures/creation.ts";
import { pageRequests } from "./figures/reading.ts";
import { type Lab, withLab } from "./lab.ts";
import type { OpenLoad, OpenResult } from "./load/open.ts";
import { barsOf, loadLine } from "./report.ts";
import { keepRequests, loadOnce, type Stage } from "./stage.ts";
import { median } from "./stats.ts";

// `npm run demo:flood`: creation is flooded at three times its capacity; does reading notice?
// Creation, load generator, worker and queue have one core; query edge, databases and probe the other. Idle is measured with as much CPU
// burned on the first core, so that what is compared is the flood and not the noise of a busy machine.

const FLOOD_CORE = 0;
const READ_CORE = 1;
const TIMES_CAPACITY = 3;
const REACH = 1.5;
/** Idle rounds that differ more than so many times tell of a busy machine. */
const VOID_SPREAD = 2.5;
const ROUNDS = 3;
const CUSTOMERS = 2_000;
const PROBE = { perS: 200, lines: 16 };
const FLOOD_LINES = 256;
const WINDOW = { warmMs: 1_000, durationMs: 6_000 };
const CAPACITY = { rounds: 1, warmMs: 2_000, windowMs: 3_000 };
const LIMIT_MS = 60_000;

interface Scene {
	lab: Lab;
	flooder: Child;
	probe: Child;
	create: Child;
	query: Child;
	pages: string;
	singles: string;
}

function pin(core: number, ...pids: number[]): void {
	for (const pid of pids) {
		const { status, stderr } = spawnSync("taskset", ["-a", "-c", "-p", String(core), String(pid)], {
			encoding: "utf8",
		});
		if (status !== 0)
			throw new Error(`process ${pid} could not be pinned to core ${core}: ${stderr ?? "there is no taskset"}`);
	}
}

async function setScene(lab: Lab): Promise<Scene> {
	const [flooder, probe] = [await lab.start("load/process"), await lab.start("load/process")];
	const [create, worker, query] = [
		await lab.startRole("create"),
		await lab.startRole("consume"),
		await lab.startRole("query"),
	];
	const stage: Stage = { lab, load: probe, say, ...CAPACITY };
	const pages = await keepRequests(stage, "pages", await pageRequests(stage, CUSTOMERS));
	const singles = await keepRequests(stage, "singles", singleRequests(lab.keys.producerKey));
	pin(FLOOD_CORE, process.pid, lab.nats.pid, flooder.pid, create.pid, worker.pid);
	pin(READ_CORE, ...lab.mongods.map(({ pid }) => pid), query.pid, probe.pid);
	return { lab, flooder, probe, create, query, pages, singles };
}

/** Creations per second that the pinned edge accepts when each caller waits for its answer. */
async function capacityOf({ lab, flooder, create, singles }: Scene): Promise<number> {
	const stage: Stage = { lab, load: flooder, say, ...CAPACITY };
	const { perS } = await loadOnce(stage, create, { connections: 64, requests: singles, expect: 202 });
	await settle(lab);
	return perS;
}

/** Throws away what is queued, and waits until the worker has nothing in hand. */
async function settle(lab: Lab): Promise<void> {
	await lab.purge();
	const endMs = Date.now() + LIMIT_MS;
	for (const lane of LANES) {
		while ((await lab.jetstream.consumers.info(streamOf(lane), WORKER)).num_ack_pending > 0 && Date.now() < endMs)
			await sleep(50);
	}
	await sleep(1_000);
}

function read({ probe, query, pages }: Scene): Promise<OpenResult> {
	const load: OpenLoad = { kind: "open", port: query.port, requests: pages, ...PROBE, ...WINDOW };
	return probe.ask<OpenResult>(load);
}

async function readIdle(scene: Scene): Promise<OpenResult> {
	const burner = await scene.lab.start("burner");
	pin(FLOOD_CORE, burner.pid);
	try {
		return await read(scene);
	} finally {
		await burner.stop();
	}
}

async function readFlooded(scene: Scene, perS: number): Promise<{ flood: OpenResult; reading: OpenResult }> {
	const { flooder, create, singles, lab } = scene;
	const load: OpenLoad = { kind: "open", port: create.port, requests: singles, perS, lines: FLOOD_LINES, ...WINDOW };
	const [flood, reading] = await Promise.all([flooder.ask<OpenResult>(load), read(scene)]);
	await settle(lab);
	return { flood, reading };
}

function say(text: string): void {
	process.stderr.write(`${text}\n`);
}

async function demo(lab: Lab): Promise<number> {
	say("starting the services, filling inboxes …");
	const scene = await setScene(lab);
	const capacity = await capacityOf(scene);
	const floodPerS = Math.round(capacity * TIMES_CAPACITY);
	say(`creation accepts ${Math.round(capacity)}/s on its core; the flood will be ${floodPerS}/s`);
	await readIdle(scene);
	const idle: OpenResult[] = [];
	const flooded: OpenResult[] = [];
	for (let round = 1; round <= ROUNDS; round++) {
		idle.push(await readIdle(scene));
		const { flood, reading } = await readFlooded(scene, floodPerS);
		flooded.push(reading);
		say(
			`round ${round}/${ROUNDS}: p99 idle ${idle.at(-1)?.p99Ms.toFixed(1)} ms, flooded ${reading.p99Ms.toFixed(1)} ms; ${floodText(flood)}`,
		);
	}
	return report(idle, flooded);
}

function floodText({ offered, dropped, answeredPerS, statuses }: OpenResult): string {
	return `${offered} creations offered, ${Math.round(answeredPerS)}/s answered (${JSON.stringify(statuses)}), ${dropped} could not even be sent`;
}

function report(idle: OpenResult[], flooded: OpenResult[]): number {
	const of = (results: OpenResult[], pick: (one: OpenResult) => number) => median(results.map(pick));
	const bars = [
		{ name: "p50 idle", value: of(idle, (one) => one.p50Ms) },
		{ name: "p50 flooded", value: of(flooded, (one) => one.p50Ms) },
		{ name: "p99 idle", value: of(idle, (one) => one.p99Ms) },
		{ name: "p99 flooded", value: of(flooded, (one) => one.p99Ms) },
	];
	const ratio = (bars[3]?.value ?? Number.NaN) / (bars[2]?.value ?? Number.NaN);
	const isReached = ratio <= REACH;
	const idleP99s = idle.map((one) => one.p99Ms);
	const isVoid = Math.max(...idleP99s) > VOID_SPREAD * Math.min(...idleP99s);
	console.log(`\nInbox pages at ${PROBE.perS}/s, medians of ${ROUNDS} rounds\n\n${barsOf(bars, "ms")}\n`);
	console.log(
		`p99 under flood is ${ratio.toFixed(2)} times the idle one; at most ${REACH} is asked for: ${isReached ? "reached" : "MISSED"} (${loadLine()})`,
	);
	if (isVoid) {
		console.log(`VOID: idle rounds differ more than ${VOID_SPREAD}-fold: something else uses this machine. Run again.`);
		return 2;
	}
	return isReached ? 0 : 1;
}

async function main(): Promise<number> {
	if (availableParallelism() < 2)
		throw new Error("the demonstration needs two cores: one for the flood, one for reading");
	const stop = new AbortController();
	onStopSignal(
		() => stop.abort(new Error("stopped")),
		() => process.exit(130),
	);
	return await withLab(stop.signal, demo);
}

await exitWith(main);
