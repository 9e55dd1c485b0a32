import { inGroups, type Line } from "./lines.ts";
import { inParallel, pause } from "./parallel.ts";
import { giveUp, judgeBulk, judgeSingle, type LineVerdict, mustHalve, type Reply } from "./replies.ts";
import type { RestApi } from "./rest.ts";
import type { Reconciliation } from "./send-account.ts";

/** A sending: what it needs, and the book it writes into. */
interface Sending {
	api: RestApi;
	book: Reconciliation;
	concurrency: number;
	/** Alarms per request; 0 posts each alone. */
	bulk: number;
	signal: AbortSignal;
}

/** A service that takes nothing for so long is not busy, it is broken: the lines in hand are then given up. */
const TIMEOUT_MS = 120_000;

/** Posts every line, and comes back when each has its verdict. */
export async function deliverAll(sending: Sending, lines: AsyncIterable<Line>): Promise<void> {
	const groups = inGroups(validOnly(lines, sending.book), Math.max(1, sending.bulk));
	await inParallel(groups, sending.concurrency, (group) => deliver(sending, group, Date.now() + TIMEOUT_MS));
}

async function* validOnly(lines: AsyncIterable<Line>, book: Reconciliation): AsyncGenerator<Line> {
	for await (const line of lines) {
		if (line.fault === undefined) yield line;
		else book.noteInvalid(line.number, line.fault);
	}
}

/** Sends until each line has its verdict; only lines of which nothing was accepted are sent again. */
async function deliver(sending: Sending, lines: Line[], endMs: number): Promise<void> {
	const reply = await post(sending, lines);
	if (mustHalve(reply, lines.length)) return await deliverHalves(sending, lines, endMs);
	const verdicts = sending.bulk === 0 ? [judgeSingle(reply)] : judgeBulk(reply, lines.length);
	const patient = Date.now() < endMs && !sending.signal.aborted;
	const isDue = (at: number) => patient && verdicts[at]?.kind === "retry";
	lines.forEach((line, at) => {
		if (!isDue(at)) note(sending.book, line, verdicts[at]);
	});
	const again = lines.filter((_, at) => isDue(at));
	await pause(longestPauseMs(verdicts), sending.signal);
	if (again.length === 0) return;
	sending.book.noteRetry();
	await deliver(sending, again, endMs);
}

async function deliverHalves(sending: Sending, lines: Line[], endMs: number): Promise<void> {
	const middle = lines.length >> 1;
	await deliver(sending, lines.slice(0, middle), endMs);
	await deliver(sending, lines.slice(middle), endMs);
}

/** The lines go out as they stand in the file. */
function post({ api, bulk }: Sending, lines: Line[]): Promise<Reply> {
	const alarms = lines.map(({ text }) => text).join(",");
	return bulk === 0 ? api.post("/v1/alarms", alarms) : api.post("/v1/alarms/bulk", `{"alarms":[${alarms}]}`);
}

function note(book: Reconciliation, { number }: Line, verdict: LineVerdict | undefined): void {
	if (verdict !== undefined) book.noteLine(number, verdict.kind === "retry" ? giveUp(verdict) : verdict);
}

/** After an unknown, too: a service in trouble must not be fed the rest of the file in a second. */
function longestPauseMs(verdicts: LineVerdict[]): number {
	return Math.max(0, ...verdicts.map((verdict) => ("pauseMs" in verdict ? verdict.pauseMs : 0)));
}
