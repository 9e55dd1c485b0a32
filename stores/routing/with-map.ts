import { setTimeout as sleep } from "node:timers/promises";
import { Fault } from "../../contracts/errors.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { Fenced, isMoved } from "../mongo/commands.ts";
import type { CachedDocument } from "./cached-document.ts";

const FENCE_PATIENCE_MS = 2_000;
const FENCE_STEP_MS = 100;

/** Does a deed with the map in hand; with a fresh one when a collection has moved, and again for 2 s while it is fenced. */
export async function withMap<R>(
	routing: CachedDocument<RoutingMap>,
	work: (map: RoutingMap) => Promise<R>,
): Promise<R> {
	for (let waitedMs = 0; ; waitedMs += FENCE_STEP_MS) {
		try {
			return await work(routing.current);
		} catch (error) {
			if (!isMoved(error) && !(error instanceof Fenced)) throw error;
			if (waitedMs >= FENCE_PATIENCE_MS)
				throw new Fault("UNAVAILABLE", "This inbox is being moved; try again in a moment.", { retryAfterS: 1 });
			await sleep(FENCE_STEP_MS);
			await routing.reload();
		}
	}
}
