import { setTimeout as sleep } from "node:timers/promises";
import type { AuditProgress, AuditReport } from "../../contracts/audit.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { ID_BYTES, shardOf } from "../../domain/alarms/ids.ts";
import { BloomFilter } from "../../domain/jobs/bloom-filter.ts";
import {
	accountsByEpoch,
	dayBefore,
	type EpochAccount,
	Findings,
	type FoundSlot,
	GapBook,
	type IdVerdict,
	isSuspicion,
	judgeId,
} from "../../domain/jobs/reconcile.ts";
import { slotOf, sourceOf } from "../../domain/routing/routing.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import {
	type LedgerDay,
	ledgerDays,
	readAccounts,
	type Sweep,
	type SweptBatch,
	sweepBatches,
} from "../../stores/reconcile/ledger-reader.ts";
import type { Silent } from "../../stores/reconcile/majority-read.ts";
import { findFailures, findSlots, keyOf } from "../../stores/reconcile/slot-search.ts";
import { readLowWatermark } from "../../stores/routing/low-watermark.ts";
import { MAP_ID } from "../../stores/routing/provision.ts";
import { loadDocument } from "../../stores/routing/versioned-documents.ts";

/** Reconciles the ledger with the slots: reads everything, changes nothing. */

interface AuditOptions {
	clusters: Clusters;
	/** Ledger days ("2026_11_22"), both included. */
	from: string;
	to: string;
	/** How long to wait for the low-watermark to pass what was promised until now. */
	waitMs: number;
	/** Most ids looked up per second; none: as fast as one command at a time on each cluster goes. */
	idsPerSecond?: number;
	onProgress?: (progress: AuditProgress) => void;
	/** Ends the run early, with an error. */
	signal?: AbortSignal;
}

/** What one run carries along. */
interface Run extends AuditOptions {
	sweep: Sweep;
	silent: Silent;
	findings: Findings;
	accounts: Map<string, EpochAccount>;
	days: LedgerDay[];
	/** Keys of ids that seem missing, until their rows are looked at again. */
	missing: Set<string>;
	/** Everything accepted before it is at its end; minus infinity when no worker has said so. */
	watermarkMs: number;
	startMs: number;
}

/** Ids of one shard looked up together. */
const IDS_AT_ONCE = 500;
const LOOK_MS = 500;
const SHOW_ROWS = 200;
/** More candidates than that would fill the memory, and can only come of a ledger larger than the sieve. */
const MOST_CANDIDATES = 1_000_000;

/** @throws when the map cannot be read at all; a cluster that does not answer is named in the report instead. */
export async function audit(options: AuditOptions): Promise<AuditReport> {
	const run = await begin(options);
	await waitForWatermark(run);
	const candidates = await sweepAll(run);
	await confirm(run, candidates);
	const { from, to, findings, watermarkMs } = run;
	const unknown = unknownOf(run, candidates.size);
	return findings.report({
		from: from.replaceAll("_", "-"),
		to: to.replaceAll("_", "-"),
		watermarkMs: Number.isFinite(watermarkMs) ? watermarkMs : null,
		unknown,
	});
}

/** The accounts first: what they promise must then be found, whatever is accepted meanwhile. */
async function begin(options: AuditOptions): Promise<Run> {
	const { clusters, from, to } = options;
	const silent: Silent = new Set();
	const sweep = { clusters, silent, isInside: (day: string) => from <= day && day <= to };
	options.onProgress?.({ phase: "accounts", part: 0, words: "reading what was promised" });
	// It may name clusters with a ledger that the environment of this process does not.
	await loadMap(clusters);
	// A batch of the day before may have been answered after midnight; one that was relayed has its row on a later day.
	const days = await ledgerDays(sweep, dayBefore(from));
	const rows = await readAccounts(
		sweep,
		days.filter(({ day }) => day <= to),
	);
	const accounts = accountsByEpoch(rows, from);
	const startMs = Date.now();
	const found = { findings: new Findings(), missing: new Set<string>() };
	return { ...options, ...found, sweep, silent, accounts, days, watermarkMs: -Infinity, startMs };
}

async function waitForWatermark(run: Run): Promise<void> {
	const promisedMs = Math.max(...[...run.accounts.values()].map(({ atMs }) => atMs));
	const neededMs = Number.isFinite(promisedMs) ? promisedMs : run.startMs;
	for (let waitedMs = 0; ; waitedMs = Date.now() - run.startMs) {
		run.signal?.throwIfAborted();
		run.watermarkMs = (await readWatermark(run)) ?? run.watermarkMs;
		if (run.watermarkMs > neededMs || waitedMs >= run.waitMs || run.silent.size > 0) return;
		const words = "until what was promised by now must have arrived";
		run.onProgress?.({ phase: "waiting", part: waitedMs / run.waitMs, words });
		await sleep(LOOK_MS, undefined, { signal: run.signal });
	}
}

/** The meta database may be away: nothing young can be judged then, everything else can. */
function readWatermark({ clusters }: Run): Promise<number | null> {
	return readLowWatermark(clusters).catch(() => null);
}

/** Goes through all batches; gives the keys of ids that may stand in two of them. */
async function sweepAll(run: Run): Promise<Candidates> {
	const { findings, watermarkMs, silent } = run;
	const allAnswer = () => silent.size === 0;
	const gaps = new GapBook(run.accounts, watermarkMs, allAnswer, (...gap) => findings.noteGap(...gap));
	const twice = new TwiceBook(idsExpected(run));
	const lookUp = new LookUp(run, await loadMap(run.clusters));
	for await (const batch of withProgress(run, sweepBatches(run.sweep, run.days))) {
		gaps.see(batch);
		if (batch.ids.length + batch.erased > 0) findings.noteBatch(batch.ids.length, batch.erased);
		twice.see(batch);
		await lookUp.add(batch);
	}
	gaps.end();
	await lookUp.end();
	return twice.candidates;
}

async function* withProgress(run: Run, batches: AsyncIterable<SweptBatch>): AsyncGenerator<SweptBatch> {
	const rows = run.days.reduce((sum, day) => sum + day.rows, 1);
	let seen = 0;
	for await (const batch of batches) {
		yield batch;
		if (++seen % SHOW_ROWS !== 0) continue;
		run.signal?.throwIfAborted();
		run.onProgress?.({ phase: "rows", part: Math.min(1, seen / rows), words: `${run.findings.ids} ids` });
	}
}

function idsExpected({ days, sweep }: Run): number {
	return days.reduce((sum, { day, bytes }) => sum + (sweep.isInside(day) ? bytes / ID_BYTES : 0), 0);
}

async function loadMap(clusters: Clusters): Promise<RoutingMap> {
	const map = await loadDocument<RoutingMap>(clusters, MAP_ID);
	if (map === null) throw new Error("there is no routing map: the system was never set up");
	clusters.learn(map);
	return map;
}

/** Ids of one shard that wait to be looked up together, copied: a view would hold the whole reply that it came with. */
interface Waiting {
	ids: Buffer;
	isOld: boolean[];
}

/** Looks ids up, shard by shard, and notes what their slots say. */
class LookUp {
	readonly #run: Run;
	readonly #waiting = new Map<number, Waiting>();
	#map: RoutingMap;

	constructor(run: Run, map: RoutingMap) {
		this.#run = run;
		this.#map = map;
	}

	async add({ ids, atMs }: SweptBatch): Promise<void> {
		for (const id of ids) {
			const shard = shardOf(id, this.#map.shards.length);
			const waiting = this.#waiting.get(shard) ?? { ids: Buffer.alloc(IDS_AT_ONCE * ID_BYTES), isOld: [] };
			this.#waiting.set(shard, waiting);
			id.copy(waiting.ids, waiting.isOld.length * ID_BYTES);
			waiting.isOld.push(atMs < this.#run.watermarkMs);
			if (waiting.isOld.length === IDS_AT_ONCE) await this.#lookUp(shard, waiting);
		}
	}

	async end(): Promise<void> {
		for (const [shard, waiting] of this.#waiting) await this.#lookUp(shard, waiting);
	}

	async #lookUp(shard: number, waiting: Waiting): Promise<void> {
		const startMs = performance.now();
		const asked = waiting.isOld.map((isOld, at) => ({
			id: waiting.ids.subarray(at * ID_BYTES, (at + 1) * ID_BYTES),
			isOld,
		}));
		const looked = await this.#judge(shard, asked);
		const suspects = looked.filter(({ verdict }) => isSuspicion(verdict));
		const sure = looked.filter(({ verdict }) => !isSuspicion(verdict));
		// The shard may have moved, or the slot may have come, while it was looked at.
		if (suspects.length > 0) this.#map = await loadMap(this.#run.clusters);
		const all = [...sure, ...(await this.#judge(shard, suspects))];
		for (const judged of all) this.#note(judged);
		waiting.isOld = [];
		await this.#pace(asked.length, startMs);
	}

	async #judge(shard: number, asked: Asked[]): Promise<Judged[]> {
		if (asked.length === 0) return [];
		const { clusters, silent } = this.#run;
		const ids = asked.map(({ id }) => id);
		const slots = await findSlots(clusters, silent, shard, ids);
		const without = ids.filter((id) => !slots.has(keyOf(id)));
		const failures = await findFailures(clusters, silent, this.#map, shard, without);
		return asked.map(({ id, isOld }) => {
			const found = slots.get(keyOf(id)) ?? [];
			const hasFailure = failures.has(keyOf(id));
			const places = { proper: slotOf(this.#map, id), source: sourceOf(this.#map, id) };
			const verdict = judgeId(found, { ...places, hasFailure, isOld, allAnswer: silent.size === 0 });
			return { id, isOld, found, verdict };
		});
	}

	#note({ id, verdict, found }: Judged): void {
		const { findings, missing } = this.#run;
		if (verdict === "missing" && missing.size < MOST_CANDIDATES) missing.add(keyOf(id));
		else findings.noteId(id, verdict, found);
	}

	async #pace(count: number, startMs: number): Promise<void> {
		const { idsPerSecond, signal } = this.#run;
		if (idsPerSecond === undefined) return;
		const leftMs = (count / idsPerSecond) * 1_000 - (performance.now() - startMs);
		if (leftMs > 0) await sleep(leftMs, undefined, { signal });
	}
}

interface Asked {
	id: Buffer;
	isOld: boolean;
}
type Judged = Asked & { found: FoundSlot[]; verdict: IdVerdict };

/** Ids that may stand in two batches, by key, with the batches in which they were found for certain. */
type Candidates = Map<string, Set<string>>;

/** Finds ids that may stand in two batches, in memory that does not grow with the ledger. */
class TwiceBook {
	readonly candidates: Candidates = new Map();
	readonly #bloomFilter: BloomFilter;

	constructor(idsExpected: number) {
		this.#bloomFilter = new BloomFilter(idsExpected);
	}

	see({ ids }: SweptBatch): void {
		for (const id of ids)
			if (this.#bloomFilter.add(id) && this.candidates.size < MOST_CANDIDATES)
				this.candidates.set(keyOf(id), new Set());
	}
}

/**
 * A second sweep tells the ids that do stand in two batches from those that the sieve has mistaken, and the missing ones from those of a
 * customer who was erased meanwhile: an erase takes an id out of the ledger before it removes the slot.
 */
async function confirm(run: Run, candidates: Candidates): Promise<void> {
	const { findings, missing } = run;
	if (candidates.size + missing.size === 0) return;
	run.onProgress?.({ phase: "again", part: 0, words: `${candidates.size + missing.size} ids are looked at again` });
	const standing = await sweepAgain(run, candidates);
	for (const [key, batches] of candidates)
		if (batches.size > 1) findings.noteTwice(Buffer.from(key, "latin1"), [...batches]);
	for (const key of missing) {
		if (standing.has(key)) findings.noteId(Buffer.from(key, "latin1"), "missing", []);
		else if (run.silent.size > 0) findings.noteId(Buffer.from(key, "latin1"), "unjudged", []);
		else findings.noteErased();
	}
}

/** Notes the batches of the candidates, and tells which of the missing ids still stand in one. */
async function sweepAgain({ days, sweep, signal, missing }: Run, candidates: Candidates): Promise<Set<string>> {
	const standing = new Set<string>();
	const inside = days.filter(({ day }) => sweep.isInside(day));
	for await (const { epoch, number, ids } of sweepBatches(sweep, inside)) {
		signal?.throwIfAborted();
		for (const key of ids.map(keyOf)) {
			candidates.get(key)?.add(`${epoch}:${number}`);
			if (missing.has(key)) standing.add(key);
		}
	}
	return standing;
}

function unknownOf({ silent }: Run, candidates: number): string[] {
	const unknown = [...silent].map((name) => `the cluster ${name} did not answer`);
	if (candidates === MOST_CANDIDATES)
		unknown.push("the ledger is too large to find every id that stands in two batches");
	return unknown;
}
