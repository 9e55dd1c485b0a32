import { randomUUID } from "node:crypto";
import type { RoutingMap } from "../../contracts/routing.ts";
import { decodeBatch } from "../../domain/batch.ts";
import { type Decision, triage } from "../../domain/triage.ts";
import { Clusters } from "../../stores/clusters.ts";
import { HeldDocument } from "../../stores/held-document.ts";
import { type IntakeDeps, takeIn } from "../../stores/intake.ts";
import { type LedgerRow, writeLedger } from "../../stores/ledger.ts";
import { MAP_ID } from "../../stores/routing-map.ts";
import type { Figure } from "../figure.ts";
import { packedBatches } from "../packed.ts";
import type { Stage } from "../stage.ts";

/** What the reconciliation costs where alarms are stored: a worker's round with its ledger rows beside the same round without. */

/** A round under a flood, and one of a single alarm, which waits for every write. */
const SIZES = [
	{ key: "ledger-full", name: "a full round with ledger", alarms: 6_000, perBatch: 300, turns: 4 },
	{ key: "ledger-single", name: "one alarm with ledger", alarms: 1, perBatch: 1, turns: 60 },
] as const;
type Size = (typeof SIZES)[number];

export async function ledger(stage: Stage): Promise<Figure[]> {
	const clusters = new Clusters(stage.lab.config);
	const routing = new HeldDocument<RoutingMap>(clusters, MAP_ID, { onError: fail });
	try {
		await routing.reload();
		const deps: IntakeDeps = { clusters, routing, lane: "bulk", nowMs: Date.now, onError: fail };
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
		const plain = await alarmsPerSecond(deps, size, false);
		const ours = await alarmsPerSecond(deps, size, true);
		stage.say(`${size.name} · round ${round}/${stage.rounds} · ${Math.round(ours)}/s, without ${Math.round(plain)}/s`);
		if (round === 0) continue;
		without.push(plain);
		withRows.push(ours);
	}
	const baseline = { name: "the same without", samples: without, band: null, reach: null };
	const notes = [`${size.alarms} alarms in batches of ${size.perBatch}, ${size.turns} rounds one after the other`];
	return { key: size.key, name: size.name, unit: "/s", samples: withRows, baselines: [baseline], notes };
}

/** Turns of both kinds have fresh alarms, made before the clock runs. */
async function alarmsPerSecond(deps: IntakeDeps, size: Size, hasLedger: boolean): Promise<number> {
	const rounds = Array.from({ length: size.turns }, () => batchesOf(size));
	const startMs = performance.now();
	for (const batches of rounds) await storeRound(deps, batches, hasLedger);
	return (size.turns * size.alarms * 1_000) / (performance.now() - startMs);
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
	if (hasLedger) await writeLedger(deps.clusters, deps.routing.current, rowsOf(batches), Date.now());
}

function rowsOf(batches: Decision[][]): LedgerRow[] {
	const epoch = randomUUID();
	return batches.map((batch, at) => ({
		epoch,
		number: at + 1,
		lane: "bulk",
		ids: batch.map(({ id }) => id),
		counts: { stored: batch.length, taken: 0, failed: 0 },
		publishedAtMs: Date.now(),
	}));
}
