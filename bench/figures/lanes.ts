import { setTimeout as sleep } from "node:timers/promises";
import { streamOf } from "../../streams/lanes.ts";
import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import type { Lab } from "../lab.ts";
import type { LatencyLoad, LatencyResult } from "../load/latency.ts";
import type { Stage } from "../stage.ts";
import { keepAlarms } from "./latency.ts";
import { drain, fillFrozen, untilEmpty } from "./storing.ts";

const PER_S = 200;
const FOLLOW_EVERY = 4;
const LANE = "bulk";
/** Longer than others: bulk is acked by the thousand. */
const WINDOWS = 3;
const SETTLED_MS = 1_000;
const LOOK_MS = 10;

/** What a flood that waits in the bulk lane does to the realtime lane, and the realtime lane to the flood. */
export async function lanes(stage: Stage, flood: number): Promise<Figure[]> {
	const { lab, rounds } = stage;
	const [create, worker, query] = [
		await lab.startRole("create"),
		await lab.startRole("consume"),
		await lab.startRole("query"),
	];
	const idle: LatencyResult[] = [];
	const busy: LatencyResult[] = [];
	const solo: number[] = [];
	const beside: number[] = [];
	for (let round = 0; round <= rounds; round++) {
		const quiet = await follow(stage, create, query, `idle${round}`);
		const alone = await drain(lab, worker, LANE, flood, `solo${round}`);
		await fillFrozen(lab, worker, LANE, flood, `busy${round}`);
		await untilDraining(lab);
		const [flooded, drained] = await whileDraining(lab, flood, () => follow(stage, create, query, `busy${round}`));
		await untilEmpty(lab, LANE);
		stage.say(
			`lanes · round ${round}/${rounds} · realtime p99 ${quiet.readableP99Ms.toFixed(1)} -> ${flooded.readableP99Ms.toFixed(1)} ms; bulk ${Math.round(alone.perS)} -> ${Math.round(drained)}/s`,
		);
		if (round === 0) continue;
		idle.push(quiet);
		busy.push(flooded);
		solo.push(alone.perS);
		beside.push(drained);
	}
	for (const child of [create, worker, query]) await child.stop();
	const p99 = ({ readableP99Ms }: LatencyResult) => readableP99Ms;
	return [
		{
			key: "lanes-realtime",
			name: `realtime accepted to readable, p99, ${flood} waiting in bulk`,
			unit: " ms",
			lessIsBetter: true,
			samples: busy.map(p99),
			baselines: [{ name: "the same with bulk empty", samples: idle.map(p99), band: null, reach: 0.5 }],
			notes: [`${PER_S}/s realtime, one in ${FOLLOW_EVERY} followed`],
		},
		{
			key: "lanes-bulk",
			name: "bulk stored beside realtime",
			unit: "/s",
			samples: beside,
			baselines: [{ name: "bulk alone", samples: solo, band: null, reach: 0.5 }],
			notes: [],
		},
	];
}

async function follow(stage: Stage, create: Child, query: Child, salt: string): Promise<LatencyResult> {
	const load: LatencyLoad = {
		kind: "latency",
		createPort: create.port,
		readPort: query.port,
		perS: PER_S,
		durationMs: WINDOWS * stage.windowMs,
		alarms: await keepAlarms(stage, salt),
		auth: stage.lab.keys.producerKey,
		followEvery: FOLLOW_EVERY,
		lookMs: LOOK_MS,
	};
	const one = await stage.load.ask<LatencyResult>(load);
	if (one.failed > 0) throw new Error(`${one.failed} creations were not accepted`);
	return one;
}

/** Does a deed, and tells how many alarms of the flood were stored a second meanwhile. */
async function whileDraining<R>(lab: Lab, flood: number, work: () => Promise<R>): Promise<[result: R, perS: number]> {
	const before = await waiting(lab);
	const startMs = performance.now();
	const result = await work();
	const passedMs = performance.now() - startMs;
	const after = await waiting(lab);
	if (after === 0) throw new Error("the flood was over before the measurement: it has to be larger");
	return [result, ((before - after) * (flood / before) * 1_000) / passedMs];
}

/** A worker that was frozen finds its connections old: what it does in its first second says nothing. */
async function untilDraining(lab: Lab): Promise<void> {
	for (const before = await waiting(lab); (await waiting(lab)) === before; ) await sleep(LOOK_MS);
	await sleep(SETTLED_MS);
}

async function waiting({ jetstream }: Lab): Promise<number> {
	return (await jetstream.streams.info(streamOf(LANE))).state.messages;
}
