import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Chance, chanceOf, seedOfRun } from "./chance.ts";
import { FaultSystem, type SystemOptions } from "./fault-system.ts";
import { realNow } from "./now.ts";
import { brokenAfterDrain, countDuplicates, type Held, type Sent, tally } from "./oracle.ts";
import { type LoadPlan, longestSilenceMs, SteadyLoad } from "./steady-load.ts";

/** One fault, from its injection to the verdict: load -> inject -> heal -> drain -> oracle. */
export interface Scenario {
	/** A sentence about what holds. */
	name: string;
	/** What is done, for the table of docs/reliability.md. */
	done: string;
	system?: SystemOptions;
	/** Of the load that runs all the while. */
	load?: Partial<Omit<LoadPlan, "seed" | "producers">>;
	/** Breaks something, for as long as it likes. Whatever is still broken when it returns is healed. */
	inject(run: Run): Promise<void>;
	/** What must hold beyond the promises. */
	judge?(counted: Counted, held: Held): void;
}

export interface Run {
	system: FaultSystem;
	load: SteadyLoad;
	/** Of the injections. */
	chance: Chance;
	/** What the scenario has put on the queue itself, for the oracle. */
	planted: Sent[];
	/** Lets a fault last. */
	last(ms: number): Promise<void>;
}

/** What a scenario has come to: a line of the table. */
export interface Counted {
	name: string;
	done: string;
	seed: number;
	at: string;
	/** Replies, one for each alarm of each sending. */
	ok: number;
	refused: number;
	unknown: number;
	/** Accepted single creations that went by the outbox. */
	viaOutbox: number;
	/** Ids that ended as duplicates. */
	duplicates: number;
	/** Slots that hold an alarm. */
	stored: number;
	failures: number;
	/** The longest that no producer got a 202. */
	silentMs: number;
	drainMs: number;
	broken: string[];
}

const RESULTS = join(".run", "faults");
const BROKEN_SHOWN = 10;
const SCENARIO_LIMIT_MS = 900_000;

/** Makes a test of it. */
export function scenario(spec: Scenario): void {
	test(spec.name, () => play(spec), SCENARIO_LIMIT_MS);
}

async function play(spec: Scenario): Promise<void> {
	const seed = seedOfRun();
	const replay = `FAULT_SEED=${seed} npm run faults -- -t ${JSON.stringify(spec.name)}`;
	console.log(`to play it again: ${replay}`);
	const system = await FaultSystem.start(spec.system ?? {});
	let left: string[] = [];
	try {
		const { counted, held } = await runOn(system, spec, seed);
		counted.broken.push(...judged(spec, counted, held));
		keep(spec, counted, system);
		expect({ replay, broken: counted.broken.slice(0, BROKEN_SHOWN) }).toEqual({ replay, broken: [] });
	} finally {
		left = await system.stop();
	}
	expect(left).toEqual([]);
}

/** What the scenario itself finds wrong, as one more broken promise. */
function judged({ judge }: Scenario, counted: Counted, held: Held): string[] {
	try {
		judge?.(counted, held);
		return [];
	} catch (error) {
		return [error instanceof Error ? error.message : String(error)];
	}
}

async function runOn(system: FaultSystem, spec: Scenario, seed: number) {
	const name = spec.name.replace(/\W+/g, "-").slice(0, 20);
	const load = await SteadyLoad.start({ name, ...spec.load, seed, producers: system.producers() });
	const planted: Sent[] = [];
	const run: Run = { system, load, chance: chanceOf(seed, "injection"), planted, last: (ms) => sleep(ms) };
	try {
		await spec.inject(run);
		await system.heal();
		// Without a restart of anybody: producers are served again.
		await load.acceptedMore(20);
	} finally {
		await load.stop();
	}
	const stoppedMs = performance.now();
	// What has not drained is in the verdict: the oracle finds it where it is.
	const stuck = await system.drain().then(
		() => [],
		(error: Error) => [error.message],
	);
	const drainMs = performance.now() - stoppedMs;
	const held = await system.held();
	const broken = [...stuck, ...brokenAfterDrain([...load.answers, ...planted], held)];
	return { counted: count(spec, seed, load, held, drainMs, broken), held };
}

function count(
	{ name, done }: Scenario,
	seed: number,
	load: SteadyLoad,
	held: Held,
	drainMs: number,
	broken: string[],
): Counted {
	const viaOutbox = load.answers.filter(({ told }) => told.is === "ok" && told.via === "outbox").length;
	return {
		...{ name, done, seed, at: realNow().toISOString() },
		...tally(load.answers),
		...{ viaOutbox, duplicates: countDuplicates(held), failures: held.failures.length },
		stored: held.months.filter(({ outcome }) => outcome === undefined).length,
		silentMs: Math.round(longestSilenceMs(load.answers, load.startMs, load.stopMs)),
		drainMs: Math.round(drainMs),
		broken,
	};
}

/** For the table, and for whoever looks into what went wrong. */
function keep({ name }: Scenario, counted: Counted, system: FaultSystem): void {
	const { broken, ...line } = counted;
	console.log({ ...line, broken: broken.length });
	mkdirSync(RESULTS, { recursive: true });
	appendFileSync(join(RESULTS, "results.ndjson"), `${JSON.stringify({ ...line, broken: broken.length })}\n`);
	const logs = system.outputs().map(([id, output]) => `== ${id}\n${output}`);
	const file = `${name.replace(/\W+/g, "-").slice(0, 60)}.log`;
	writeFileSync(join(RESULTS, file), [...broken, ...logs].join("\n"));
}
