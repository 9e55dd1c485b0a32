import { setTimeout as sleep } from "node:timers/promises";
import { nextTurn, type Pace } from "../domain/time/rate-limit.ts";

/** Gives turns at a rate, over all that ask in this process. */
export class Pacer {
	#pace: Pace;

	constructor(perSecond: number) {
		this.#pace = { perSecond, nextAtMs: 0 };
	}

	/** Waits for a turn. False, and none is taken, when it would come up after `lastMs`. */
	async turn(lastMs: number): Promise<boolean> {
		const nowMs = Date.now();
		const { waitMs, taken } = nextTurn(this.#pace, nowMs);
		if (nowMs + waitMs > lastMs) return false;
		this.#pace = taken;
		if (waitMs > 0) await sleep(waitMs);
		return true;
	}
}
