/** A node whose clock is further off than this is not ready: ids that it makes, or what it measures by them, would be wrong. */
const MOST_OFF_MS = 5_000;

/** What one server's clock said, and when we asked and heard, all in ms. */
export interface ClockReading {
	server: string;
	theirsMs: number;
	askedMs: number;
	heardMs: number;
}

/** What is wrong with our clock, or null. A reading is as exact as its journey was short; half of it is given to us. */
export function clockTrouble(readings: ClockReading[]): string | null {
	const off = readings.find((reading) => Math.abs(offsetMs(reading)) > MOST_OFF_MS);
	if (off === undefined) return null;
	const seconds = (Math.abs(offsetMs(off)) / 1_000).toFixed(1);
	return `this clock is ${seconds} s ${offsetMs(off) < 0 ? "ahead of" : "behind"} that of ${off.server}; synchronize it (NTP)`;
}

function offsetMs({ theirsMs, askedMs, heardMs }: ClockReading): number {
	const [early, late] = [theirsMs - heardMs, theirsMs - askedMs];
	return early > 0 ? early : Math.min(late, 0);
}
