/** A run of batch numbers, both ends included. */
export type NumberRange = [from: number, to: number];

/** What a creating process can say of its batches: every number up to `settled` was answered, those in `voids` without a promise. */
export interface BatchAccount {
	epoch: string;
	settled: number;
	/** Refused, or answered as unknown: nobody was promised that these are stored. */
	voids: NumberRange[];
}

/**
 * Numbers the batches of this process without a gap, over all lanes, and keeps account of how each was answered: compared with the
 * ledger, a promise without a row is a loss.
 */
export class BatchNumbers {
	readonly epoch: string;
	#last = 0;
	#settled = 0;
	/** Answered out of turn: those behind `#settled` that wait for one before them. */
	readonly #early = new Set<number>();
	readonly #voids: NumberRange[] = [];
	/** Given back: taken again before new ones. */
	readonly #free: number[] = [];

	/** `epoch` must be new with each process. */
	constructor(epoch: string) {
		this.epoch = epoch;
	}

	next(): number {
		return this.#free.shift() ?? ++this.#last;
	}

	/** The batch of this number is nowhere, for sure: the next one takes it, so that a flood of refusals leaves no trace. */
	giveBack(number: number): void {
		this.#free.push(number);
	}

	/** The callers of this batch have their answer; `promised` when it was 202. */
	settle(number: number, promised: boolean): void {
		if (!promised) addTo(this.#voids, number);
		this.#early.add(number);
		while (this.#early.delete(this.#settled + 1)) this.#settled++;
	}

	account(): BatchAccount {
		let settled = this.#settled;
		while (this.#early.has(settled + 1) || this.#free.includes(settled + 1)) settled++;
		const free = this.#free.map((number): NumberRange => [number, number]);
		const voids = [...this.#voids, ...free].filter(([from]) => from <= settled);
		return { epoch: this.epoch, settled, voids: structuredClone(voids) };
	}
}

/** Joined to the last range where it follows it, so that a flood of refusals stays one range. */
function addTo(ranges: NumberRange[], number: number): void {
	const last = ranges.at(-1);
	if (last !== undefined && number === last[1] + 1) last[1] = number;
	else ranges.push([number, number]);
}
