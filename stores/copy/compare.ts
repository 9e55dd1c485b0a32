import { diffRows, type SweptRow } from "../../domain/jobs/row-diff.ts";
import type { Target } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { type RawRow, rawId, readRaw, readRawByIds } from "./raw-rows.ts";

/**
 * Compares a collection and its copy byte by byte: one process reads both sides, so that there is no hash to trust, and a difference has a
 * name. Counts would pass when one row is missing and another doubled.
 */

const CHUNK = 500;
/** More than that is no matter of single rows. */
const MOST_DIFFERENT = 1_000;

export interface Comparison {
	different: Buffer[];
	/** False when it was broken off, because too much differs. */
	complete: boolean;
}

/** Sweeps both sides in the order of `_id`; `paced` is told how many rows were read. */
export async function compareAll(
	clusters: Clusters,
	sides: [Target, Target],
	paced: (rows: number) => Promise<void>,
): Promise<Comparison> {
	const sweeps = sides.map((target) => new Sweep(clusters, target)) as [Sweep, Sweep];
	const different: Buffer[] = [];
	let rest: [SweptRow[], SweptRow[]] = [[], []];
	while (!sweeps.every(({ ended }) => ended)) {
		// The side that is behind goes on; both when they are level.
		const chunks = await Promise.all(sweeps.map((sweep, side) => (rest[side]?.length ? [] : sweep.next())));
		const [one, other] = chunks as [SweptRow[], SweptRow[]];
		const found = diffRows(rest[0].concat(one), rest[1].concat(other), [sweeps[0].ended, sweeps[1].ended]);
		different.push(...found.different);
		rest = found.rest;
		if (different.length > MOST_DIFFERENT) return { different, complete: false };
		await paced(one.length);
	}
	return { different, complete: true };
}

class Sweep {
	readonly #clusters: Clusters;
	readonly #target: Target;
	#after: Buffer | null = null;
	ended = false;

	constructor(clusters: Clusters, target: Target) {
		this.#clusters = clusters;
		this.#target = target;
	}

	async next(): Promise<SweptRow[]> {
		if (this.ended) return [];
		const rows = swept(await readRaw(this.#clusters, this.#target, this.#after, CHUNK));
		this.#after = rows.at(-1)?.id ?? this.#after;
		this.ended = rows.length === 0;
		return rows;
	}
}

/** Of these ids, those whose rows are not equal, or that one side alone has. */
export async function compareIds(clusters: Clusters, sides: [Target, Target], ids: Buffer[]): Promise<Buffer[]> {
	const different: Buffer[] = [];
	for (let at = 0; at < ids.length; at += CHUNK) {
		const some = ids.slice(at, at + CHUNK);
		const [one, other] = await Promise.all(sides.map((target) => readRawByIds(clusters, target, some)));
		different.push(...diffRows(swept(one ?? []), swept(other ?? []), [true, true]).different);
	}
	return different;
}

function swept(rows: RawRow[]): SweptRow[] {
	return rows.map((bytes) => ({ id: rawId(bytes), bytes }));
}
