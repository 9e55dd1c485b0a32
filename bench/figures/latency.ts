import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import type { Followed, LatencyLoad, LatencyResult } from "../load/latency.ts";
import { placesOf } from "../places.ts";
import { freshAlarm } from "../sample.ts";
import type { Stage } from "../stage.ts";
import { tokensOf } from "../stored.ts";

const PER_S = 500;
const FOLLOW_EVERY = 10;
const LOOK_MS = 4;
const ALARMS = 5_000;

/** (f) Accepted to readable at 500 creations per second. The worker runs; the raw way has a bare server, worker and reader. */
export async function latency(stage: Stage): Promise<Figure[]> {
	const raw = await measure(stage, "raw", await rawWay(stage));
	const ours = await measure(stage, "ours", await ourWay(stage));
	const figure = (key: string, name: string, pick: (one: LatencyResult) => number): Figure => ({
		key,
		name,
		unit: " ms",
		lessIsBetter: true,
		samples: ours.map(pick),
		baselines: [{ name: "bare server, worker and reader", samples: raw.map(pick), band: null, reach: null }],
		notes: [
			`${PER_S}/s, open loop, one in ${FOLLOW_EVERY} followed; each round: ${spread(ours, pick)}; bare ${spread(raw, pick)}`,
		],
	});
	return [
		figure("latency-p50", "accepted to readable, p50", (one) => one.readableP50Ms),
		figure("latency-p99", "accepted to readable, p99", (one) => one.readableP99Ms),
		figure("accept-p99", "request to accepted, p99", (one) => one.acceptedP99Ms),
	];
}

function spread(results: LatencyResult[], pick: (one: LatencyResult) => number): string {
	return `${results.map((one) => pick(one).toFixed(1)).join(", ")} ms`;
}

interface Way {
	create: Child;
	worker: Child;
	read: Child;
}

async function rawWay({ lab }: Stage): Promise<Way> {
	const places = JSON.stringify(placesOf(lab));
	const create = await lab.start("raw/create", { args: [lab.nats.url, "packed"] });
	const worker = await lab.start("raw/store", { args: [lab.nats.url, places] });
	return { create, worker, read: await lab.start("raw/read", { args: [places, "command"] }) };
}

async function ourWay({ lab }: Stage): Promise<Way> {
	const create = await lab.startRole("create");
	return { create, worker: await lab.startRole("consume"), read: await lab.startRole("query") };
}

/** One way after the other, because both workers would take from the same lanes. */
async function measure(stage: Stage, name: string, way: Way): Promise<LatencyResult[]> {
	const results: LatencyResult[] = [];
	for (let round = 0; round <= stage.rounds; round++) {
		const load: LatencyLoad = {
			kind: "latency",
			createPort: way.create.port,
			readPort: way.read.port,
			perS: PER_S,
			durationMs: stage.windowMs,
			alarms: await keepAlarms(stage, `${name}${round}`),
			auth: stage.lab.keys.producerKey,
			followEvery: FOLLOW_EVERY,
			lookMs: LOOK_MS,
		};
		const one = await stage.load.ask<LatencyResult>(load);
		if (one.failed > 0) throw new Error(`${one.failed} creations were not accepted`);
		stage.say(
			`latency · ${name} · ${round === 0 ? "warming" : `round ${round}/${stage.rounds}`}: p50 ${one.readableP50Ms.toFixed(1)} ms`,
		);
		if (round > 0) results.push(one);
	}
	for (const child of [way.create, way.worker, way.read]) await child.stop();
	await stage.lab.purge();
	return results;
}

export async function keepAlarms({ lab }: Stage, salt: string): Promise<string> {
	// Few customers, so that their tokens are remembered: what is measured is the way of an alarm, not of a signature.
	const userIds = Array.from({ length: 200 }, (_, at) => `follower-${at}`);
	const tokens = await tokensOf(lab, userIds);
	const alarms: Followed[] = Array.from({ length: ALARMS }, (_, at) => {
		const userId = userIds[at % userIds.length] ?? "";
		const { lane: _lane, ...alarm } = freshAlarm(at, salt);
		return { userId, token: tokens[at % tokens.length] ?? "", alarm: { ...alarm, userId } };
	});
	const file = path.join(lab.dir, `alarms-${salt}.json`);
	await writeFile(file, JSON.stringify(alarms));
	return file;
}
