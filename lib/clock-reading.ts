import type { ClockReading } from "../domain/time/clock.ts";

/** What a server's clock says, between the moments of asking and hearing. */
export async function readClock(server: string, ask: () => Promise<number>): Promise<ClockReading> {
	const askedMs = Date.now();
	const theirsMs = await ask();
	return { server, theirsMs, askedMs, heardMs: Date.now() };
}
