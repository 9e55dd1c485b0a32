import { randomInt } from "node:crypto";

/** All that is random in a fault scenario comes from its seed, so that a run that went wrong can be played again. */

export interface Chance {
	/** From 0 up to 1. */
	next(): number;
	/** A whole number from `least` to `most`. */
	between(least: number, most: number): number;
	pick<T>(list: readonly T[]): T;
}

/** FAULT_SEED of the environment, or a new one. */
export function seedOfRun(): number {
	return Number(process.env.FAULT_SEED) || randomInt(1, 2 ** 31);
}

/** A sequence of its own for each purpose: how often one is asked does not shift the others. */
export function chanceOf(seed: number, purpose: string): Chance {
	const next = mulberry32(seedFrom(`${seed} ${purpose}`));
	const between = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
	return { next, between, pick: (list) => list[between(0, list.length - 1)] as (typeof list)[number] };
}

/** FNV-1a. */
function seedFrom(text: string): number {
	let hash = 0x811c9dc5;
	for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
	return hash >>> 0;
}

function mulberry32(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
}
