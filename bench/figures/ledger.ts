import { randomUUID } from "node:crypto";
import type { RoutingMap } from "../../contracts/routing.ts";
import { decodeBatch } from "../../domain/alarms/batch.ts";
import { type Decision, triage } from "../../domain/alarms/triage.ts";
import { type IntakeDeps, takeIn } from "../../stores/alarms/insert-alarms.ts";
import { type LedgerRow, writeLedger } from "../../stores/alarms/ledger.ts";
import { CircuitBreakers } from "../../stores/mongo/circuit-breakers.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { CachedDocument } from "../../stores/routing/cached-document.ts";
import { MAP_ID } from "../../stores/routing/provision.ts";
import type { Figure } from "../figure.ts";
import { packedBatches } from "../packed.ts";
import type { Stage } from "../stage.ts";
import { median } from "../stats.ts";

/** What the reconciliation costs where alarms are stored: a worker's round with its ledger rows beside the same round without. */

/** A round under a flood, and one of a single alarm, which waits for every write. */
const SIZES = [
	{ key: "ledger-full", name: "a full round with ledger", alarms: 6_000, perBatch: 300, turns: 6 },
	{ key: "ledger-single", name: "one alarm with ledger", alarms: 1, perBatch: 1, turns: 100 },
] as const;
type Size = (typeof SIZES)[number];
/** Of a worker under a flood, see consume/store-round.ts. */
const PACE = { rows: 1_000, inserts: 2, yieldTo: () => Promise.resolve() };

export async function ledger(stage: Stage): Promise<Figure[]> {
	const clusters = new Clusters(stage.lab.config);
	const routing = new CachedDocument<RoutingMap>(clusters, MAP_ID, { onError: fail });
	try {
		await routing.reload();
		const breaker = new CircuitBreakers().ofRounds.bulk;
		const deps: IntakeDeps = {
			clusters,
			routing,
			lane: "bulk",
			breaker,
			pace: PACE,
			onSlow: () => undefined,
			nowMs: Date.now,
			onError: fail,
		};
		const figures: Figure[] = [];
		for (const size of SIZES) figures.push(await figureOf(stage, deps, size));
		return figures;
	} finally {
		await clusters.close();
	}
}

function fail(error: unknown): never {
	throw error;
}

async function figureOf(stage: Stage, deps: IntakeDeps, size: Size): Promise<Figure> {
	const without: number[] = [];
	const withRows: number[] = [];
	// The first round warms both, and does not count.
	for (let round = 0; round <= stage.rounds; round++) {
		const [plain, ours] = await bothPerSecond(deps, size);
		stage.say(`${size.name} · round ${round}/${stage.rounds} · ${Math.round(ours)}/s, without ${Math.round(plain)}/s`);
		if (round === 0) continue;
		without.push(plain);
		withRows.push(ours);
	}
	const baseline = { name: "the same without", samples: without, band: null, reach: null };
	const notes = [
		`${size.alarms} alarms in batches of ${size.perBatch}; the rows cost ${costMs(size, without, withRows)} ms a round`,
	];
	return { key: size.key, name: size.name, unit: "/s", samples: withRows, baselines: [baseline], notes };
}

function costMs({ alarms }: Size, without: number[], withRows: number[]): string {
	return (alarms * 1_000 * (1 / median(withRows) - 1 / median(without))).toFixed(1);
}

/** Alarms per second without and with the ledger, turn about: whatever else the machine does meets both alike. */
async function bothPerSecond(deps: IntakeDeps, size: Size): Promise<[plain: number, ours: number]> {
	const passedMs: [number, number] = [0, 0];
	for (let turn = 0; turn < 2 * size.turns; turn++) {
		const at = turn % 2 === 0 ? 0 : 1;
		// Fresh alarms, made before the clock runs.
		const batches = batchesOf(size);
		const startMs = performance.now();
		await storeRound(deps, batches, at === 1);
		passedMs[at] += performance.now() - startMs;
	}
	const alarms = size.turns * size.alarms * 1_000;
	return [alarms / passedMs[0], alarms / passedMs[1]];
}

function batchesOf({ alarms, perBatch }: Size): Decision[][] {
	const nowMs = Date.now();
	const at = { lane: "bulk", streamTimeMs: nowMs, sequence: 0, index: 0 } as const;
	return packedBatches(alarms, randomUUID(), perBatch).map(({ payload }) =>
		decodeBatch(payload).map((item) => triage(item, nowMs, at)),
	);
}

async function storeRound(deps: IntakeDeps, batches: Decision[][], hasLedger: boolean): Promise<void> {
	const outcomes = await takeIn(deps, batches.flat());
	if (outcomes.some(({ safe }) => !safe)) throw new Error("an alarm was not stored");
	if (hasLedger) await writeLedger(deps, deps.routing.current, rowsOf(batches), Date.now());
}

function rowsOf(batches: Decision[][]): LedgerRow[] {
	const epoch = randomUUID();
	return batches.map((batch, at) => ({
		epoch,
		number: at + 1,
		lane: "bulk",
		ids: batch.map(({ id }) => id),
		counts: { stored: batch.length, duplicate: 0, failed: 0, parked: 0 },
		publishedAtMs: Date.now(),
	}));
}
