import { writeFile } from "node:fs/promises";
import path from "node:path";
import { type Child, cpuSecondsOf } from "./child.ts";
import type { Lab } from "./lab.ts";
import type { ClosedLoad, LoadResult } from "./load/closed.ts";
import type { Request } from "./load/line.ts";

/** What a figure has at hand while it is measured. */
export interface Stage {
	lab: Lab;
	/** The load generator. */
	load: Child;
	rounds: number;
	windowMs: number;
	warmMs: number;
	/** Shows how far the run is. */
	say(text: string): void;
}

/** Writes the requests of a load once, where the generator reads them. */
export async function keepRequests({ lab }: Stage, name: string, requests: Request[]): Promise<string> {
	const file = path.join(lab.dir, `${name}.json`);
	await writeFile(file, JSON.stringify(requests));
	return file;
}

export interface Loaded extends LoadResult {
	/** Of one core, used by the server that was loaded. */
	serverCpu: number;
}

type Aim = Omit<ClosedLoad, "kind" | "port" | "warmMs" | "durationMs">;

/** Loads a server for one window. @throws when more than a few answers were not as expected. */
export async function loadOnce(stage: Stage, server: Child, aim: Aim): Promise<Loaded> {
	const { warmMs, windowMs: durationMs } = stage;
	const before = { cpuS: cpuSecondsOf(server.pid), atMs: performance.now() };
	const question: ClosedLoad = { kind: "closed", port: server.port, warmMs, durationMs, ...aim };
	const result = await stage.load.ask<LoadResult>(question);
	const passedS = (performance.now() - before.atMs) / 1_000;
	if (result.failed > 0)
		throw new Error(`${server.name} answered ${result.failed} times otherwise: ${result.firstFailure}`);
	return { ...result, serverCpu: (cpuSecondsOf(server.pid) - before.cpuS) / passedS };
}

/** Loads several servers in turn, round after round; gives the results of each. */
export async function interleaved(
	stage: Stage,
	what: string,
	servers: { child: Child; aim: Aim }[],
	afterEach: () => Promise<void> = async () => undefined,
): Promise<Loaded[][]> {
	const results: Loaded[][] = servers.map(() => []);
	// A round that does not count: compilers and caches are warm in production.
	for (const { child, aim } of servers) {
		stage.say(`${what} · warming ${child.name}`);
		await loadOnce(stage, child, aim);
		await afterEach();
	}
	for (let round = 1; round <= stage.rounds; round++) {
		for (const [at, { child, aim }] of servers.entries()) {
			const one = await loadOnce(stage, child, aim);
			results[at]?.push(one);
			stage.say(`${what} · round ${round}/${stage.rounds} · ${child.name}: ${Math.round(one.perS)}/s`);
			await afterEach();
		}
	}
	return results;
}
