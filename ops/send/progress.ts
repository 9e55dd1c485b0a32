import { SingleBar } from "cli-progress";

/** How far a piece of work is: a part from 0 to 1 and a few words. */
export interface Step {
	part: number;
	words: string;
}

const LOOK_MS = 250;
const LINE_MS = 3_000;
const WHOLE = 100;

/** Shows how far the work is, on standard error: a bar on a terminal, a plain line every few seconds elsewhere. */
export async function withProgress<T>(title: string, step: () => Step, work: () => Promise<T>): Promise<T> {
	const bar = new SingleBar({ ...howToShow(process.stderr.isTTY), stream: process.stderr, gracefulExit: false });
	const show = () => bar.update(Math.floor(step().part * WHOLE), { words: step().words });
	bar.start(WHOLE, 0, { title, words: step().words });
	const timer = setInterval(show, LOOK_MS);
	try {
		return await work();
	} finally {
		clearInterval(timer);
		show();
		bar.stop();
	}
}

function howToShow(isTerminal: boolean) {
	if (isTerminal) return { format: "{title} [{bar}] {percentage}%  {words}", hideCursor: true };
	// `clearOnComplete` only saves the empty line at the end.
	return {
		format: "{title} {percentage}%  {words}",
		noTTYOutput: true,
		notTTYSchedule: LINE_MS,
		clearOnComplete: true,
	};
}
