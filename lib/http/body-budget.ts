import { Fault } from "../../contracts/errors.ts";

/** Bodies up to this size find a place that larger ones leave free: slow bulk uploads must not keep out single alarms and marks. */
const SMALL_BYTES = 64 * 1024;
const SMALL_SHARE = 1 / 16;

/** Bytes of request bodies that a process may have in hand, so that its memory stays flat however many are sent slowly. */
export class BodyBudget {
	readonly #mostBytes: number;
	#takenBytes = 0;

	constructor(mostBytes: number) {
		this.#mostBytes = mostBytes;
	}

	/** Before the body is read; what was taken is given back by `give`. @throws {Fault} OVERLOADED when there is no room. */
	take(bytes: number): void {
		const room = bytes <= SMALL_BYTES ? this.#mostBytes : this.#mostBytes * (1 - SMALL_SHARE);
		if (this.#takenBytes + bytes > room)
			throw new Fault("OVERLOADED", "Too many bodies are being sent; nothing was accepted.", { retryAfterS: 1 });
		this.#takenBytes += bytes;
	}

	give(bytes: number): void {
		this.#takenBytes -= bytes;
	}
}
