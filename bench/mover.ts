import { setTimeout as sleep } from "node:timers/promises";
import { readConfig } from "../config.ts";
import { shardPlace } from "../domain/routing/routing.ts";
import type { Month } from "../domain/time/periods.ts";
import { CopyThrottle } from "../jobs/copy-throttle.ts";
import { archiveMonth } from "../jobs/migrate/archive-month.ts";
import { dropRetainedArchives } from "../jobs/migrate/drop-archived-source.ts";
import type { MoveDeps, MoveStep } from "../jobs/migrate/migration.ts";
import { moveShard } from "../jobs/migrate/move-shard.ts";
import { Clusters } from "../stores/mongo/clusters.ts";
import { newestMap } from "../stores/routing/map-change.ts";
import { answer, ready } from "./answering.ts";

// The mover's deeds in a process of their own, as the service runs them.

export type MoverQuestion =
	/** Without a rate, as fast as it can. Tells when each step was done, in ms from the beginning. */
	| { kind: "archive"; shard: number; month: Month; rowsPerSecond?: number }
	/** A whole shard to another cluster; told in the same way. */
	| { kind: "move"; shard: number; to: string; rowsPerSecond?: number }
	/** Every source that was archived is dropped; tells how long that took. */
	| { kind: "drop-away" }
	/** Stands still between two chunks, or goes on. */
	| { kind: "hold" | "go" }
	/** Rows that were copied or compared so far. */
	| { kind: "rows" };

export type StepTimes = Partial<Record<MoveStep, number>>;

const config = readConfig(JSON.parse(process.argv[2] ?? "{}") as Record<string, string>);
const clusters = new Clusters(config);
const never = new AbortController().signal;
const GATE_MS = 5;

let isHeld = false;
let rowsGone = 0;

const deps: MoveDeps = {
	clusters,
	node: "bench-mover",
	onMap: () => undefined,
	nowMs: Date.now,
	pace: async () => undefined,
	onProgress: () => undefined,
	onError: (error) => console.error(error),
};

interface Work {
	shard: number;
	/** Of a whole shard. */
	to?: string;
	rowsPerSecond?: number;
}

async function timesOf(
	{ shard, to, rowsPerSecond }: Work,
	begin: (deps: MoveDeps) => AsyncGenerator<MoveStep>,
): Promise<StepTimes> {
	const pace = rowsPerSecond === undefined ? deps.pace : await heldPace(shard, to, rowsPerSecond);
	const startMs = performance.now();
	const times: StepTimes = {};
	for await (const step of begin({ ...deps, pace })) times[step] = performance.now() - startMs;
	return times;
}

async function heldPace(shard: number, to: string | undefined, rowsPerSecond: number): Promise<MoveDeps["pace"]> {
	const { cluster } = shardPlace(await newestMap(clusters), shard);
	const both = [cluster, ...(to === undefined ? [] : [to])].map((name) => clusters.at(name));
	const pace = new CopyThrottle(both, rowsPerSecond, never);
	return async (rows) => {
		while (isHeld) await sleep(GATE_MS);
		await pace.rows(rows);
		rowsGone += rows;
	};
}

async function dropAll(): Promise<number> {
	const startMs = performance.now();
	const { errors } = await dropRetainedArchives(deps, 0);
	if (errors.length > 0) throw errors[0];
	return performance.now() - startMs;
}

answer<MoverQuestion>(async (question) => {
	switch (question.kind) {
		case "archive":
			return timesOf(question, (own) => archiveMonth(own, { run: "bench", ...question }));
		case "move":
			return timesOf(question, (own) => moveShard(own, { run: "bench", ...question }));
		case "drop-away":
			return dropAll();
		case "rows":
			return rowsGone;
		default:
			isHeld = question.kind === "hold";
			return null;
	}
});
ready();
