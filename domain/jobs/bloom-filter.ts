/**
 * Remembers ids in a fixed amount of memory (a Bloom filter): who was seen is always recognised, and of those who were not, one in some
 * thousand is taken for seen. Its answers are candidates, to be looked at again.
 */

/** One in some 7,000 is mistaken when as many ids as expected have passed. */
const BITS_PER_ID = 32;
const MARKS = 4;
const LEAST_BITS = 2 ** 16;
/** 128 MB: for more than 33 million ids it mistakes more of them. */
const MOST_BITS = 2 ** 30;

export class BloomFilter {
	readonly #bits: Uint8Array;
	readonly #mask: number;

	constructor(expected: number) {
		const wanted = 2 ** Math.ceil(Math.log2(Math.max(expected, 1) * BITS_PER_ID));
		const bits = Math.min(Math.max(wanted, LEAST_BITS), MOST_BITS);
		this.#bits = new Uint8Array(bits / 8);
		this.#mask = bits - 1;
	}

	/** Whether this id may have been here before; from now on it has. */
	add(id: Uint8Array): boolean {
		const view = new DataView(id.buffer, id.byteOffset, id.byteLength);
		// The random end of an id and its customer's hash: two independent numbers make as many marks as are wanted.
		const [start, step] = [view.getUint32(16) ^ view.getUint16(14), view.getUint32(2) | 1];
		let wasSeen = true;
		for (let mark = 0; mark < MARKS; mark++) {
			if (!this.#mark(((start + Math.imul(step, mark)) & this.#mask) >>> 0)) wasSeen = false;
		}
		return wasSeen;
	}

	/** Tells whether the mark was there. */
	#mark(at: number): boolean {
		const [byte, bit] = [at >>> 3, 1 << (at & 7)];
		const was = this.#bits[byte] ?? 0;
		this.#bits[byte] = was | bit;
		return (was & bit) !== 0;
	}
}
