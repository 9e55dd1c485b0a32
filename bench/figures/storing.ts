import { setTimeout as sleep } from "node:timers/promises";
import type { Lane } from "../../contracts/alarm.ts";
import { batchSubject, streamOf } from "../../streams/lanes.ts";
import { type Child, cpuSecondsOf } from "../child.ts";
import type { Figure } from "../figure.ts";
import type { Lab } from "../lab.ts";
import { type PackedBatch, packedBatches } from "../packed.ts";
import { placesOf } from "../places.ts";
import type { Stage } from "../stage.ts";
import { median } from "../stats.ts";

const LOOK_MS = 5;
const LIMIT_MS = 120_000;
const FILLERS = 8;
const SLICE = 100_000;

/** (c) Alarms stored per second while one worker drains a backlog, against sorted inserts of the same documents. */
export async function storing(stage: Stage, alarms: number): Promise<Figure[]> {
	const { lab, rounds } = stage;
	const raw = await lab.start("raw/insert", { args: [JSON.stringify(placesOf(lab))] });
	const worker = await lab.startRole("consume");
	const theirs: number[] = [];
	const ours: number[] = [];
	const cpu: number[] = [];
	for (let round = 1; round <= rounds; round++) {
		theirs.push(await raw.ask<number>({ count: alarms, salt: `raw${round}` }));
		const drained = await drain(lab, worker, "bulk", alarms, `ours${round}`);
		ours.push(drained.perS);
		cpu.push(drained.cpu);
		stage.say(
			`storing · round ${round}/${rounds} · inserts ${Math.round(theirs.at(-1) ?? 0)}/s, worker ${Math.round(drained.perS)}/s`,
		);
	}
	await raw.stop();
	await worker.stop();
	const baseline = {
		name: "sorted unordered inserts",
		samples: theirs,
		band: [112_000, 112_000] as const,
		reach: 0.45,
	};
	const notes = [
		`worker ${Math.round(median(cpu) * 100)} % of a core; ${alarms} alarms a round, batches as bulk requests make them`,
	];
	return [
		{ key: "storing", name: "backlog stored, one worker", unit: "/s", samples: ours, baselines: [baseline], notes },
	];
}

/** Fills a lane while the worker stands still, and lets it go. */
export async function fillFrozen(
	lab: Lab,
	worker: Child,
	lane: Lane,
	alarms: number,
	salt: string,
	perBatch?: number,
): Promise<void> {
	process.kill(worker.pid, "SIGSTOP");
	await fill(lab, lane, alarms, salt, perBatch).finally(() => process.kill(worker.pid, "SIGCONT"));
}

/**
 * Fills a lane while the worker is frozen, lets it go, and times until the stream is empty. Frozen, and not started afresh, because a
 * worker of production is warm; and not by a pause of its consumer, because after that the server waits seconds before it delivers.
 */
export async function drain(lab: Lab, worker: Child, lane: Lane, alarms: number, salt: string, perBatch?: number) {
	await fillFrozen(lab, worker, lane, alarms, salt, perBatch);
	const cpuS = cpuSecondsOf(worker.pid);
	const startMs = performance.now();
	await untilEmpty(lab, lane);
	const passedMs = performance.now() - startMs;
	return { perS: (alarms * 1_000) / passedMs, cpu: ((cpuSecondsOf(worker.pid) - cpuS) * 1_000) / passedMs };
}

/** In slices: a million packed alarms at once would not fit. */
async function fill(lab: Lab, lane: Lane, alarms: number, salt: string, perBatch?: number): Promise<void> {
	for (let at = 0; at < alarms; at += SLICE)
		await fillSlice(lab, lane, packedBatches(Math.min(SLICE, alarms - at), `${salt}-${at}`, perBatch));
}

async function fillSlice({ connection }: Lab, lane: Lane, packed: PackedBatch[]): Promise<void> {
	const batches = packed.values();
	const hand = async () => {
		for (const { payload } of batches) await connection.jetstream().publish(batchSubject(lane), payload);
	};
	await Promise.all(Array.from({ length: FILLERS }, hand));
}

export async function untilEmpty({ jetstream }: Lab, lane: Lane): Promise<void> {
	const endMs = Date.now() + LIMIT_MS;
	for (;;) {
		const { state } = await jetstream.streams.info(streamOf(lane));
		if (state.messages === 0) return;
		if (Date.now() > endMs) throw new Error(`${state.messages} batches are left after ${LIMIT_MS / 1_000} s`);
		await sleep(LOOK_MS);
	}
}
