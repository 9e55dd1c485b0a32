import path from "node:path";
import { CommanderError } from "commander";
import { deliverAll } from "./send/deliver.ts";
import { UsageFault } from "./send/fault.ts";
import { type LineSource, openLines } from "./send/lines.ts";
import { assertReached, findTarget, type Options, readOptions } from "./send/options.ts";
import { withProgress } from "./send/progress.ts";
import { toJson, toTable, toVerdict } from "./send/report.ts";
import { type RestApi, restApi } from "./send/rest.ts";
import { type Course, Reconciliation, whatIsWrong } from "./send/send-account.ts";
import { settleAll } from "./send/settle.ts";
import { CACHE_DIR } from "./start/run-dir.ts";
import { onStopSignal } from "./start/signals.ts";

// `npm run send -- FILE`: sends a file of alarms, then asks for each accepted id what has become of it.

interface Run {
	options: Options;
	api: RestApi;
	book: Reconciliation;
	source: LineSource;
	signal: AbortSignal;
}

/** After Ctrl-C, requests in hand may still be answered for so long. */
const GRACE_MS = 3_000;

async function main(): Promise<number> {
	const options = readOptions(process.argv.slice(2));
	const stop = new AbortController();
	onStopSignal(
		() => stop.abort(),
		() => process.exit(130),
	);
	const source = await openLines(options.file, options.limit, stop.signal);
	const { url, key } = await findTarget(options, path.resolve(process.env.ALARM_RUN_DIR || CACHE_DIR));
	const api = restApi(url, key, options.concurrency);
	stop.signal.addEventListener("abort", () => void setTimeout(api.close, GRACE_MS).unref());
	try {
		assertReached(await api.get("/health/live"), url);
		return await sendAndReport({ options, api, source, signal: stop.signal, book: new Reconciliation() });
	} finally {
		api.close();
		await source.close();
	}
}

async function sendAndReport(run: Run): Promise<number> {
	const { options, book } = run;
	const course = await send(run);
	const account = book.account();
	process.stdout.write(`${options.json ? toJson(account, course) : toTable(account, course)}\n`);
	(options.json ? process.stderr : process.stdout).write(`${toVerdict(account, course)}\n`);
	return whatIsWrong(account, course).length === 0 ? 0 : 1;
}

async function send({ options, api, book, source, signal }: Run): Promise<Course> {
	const startMs = performance.now();
	const sinceStartMs = () => Math.round(performance.now() - startMs);
	const { concurrency, bulk, waitMs } = options;
	const sent = () => ({ part: source.partTaken(), words: `${book.accepted} accepted` });
	await withProgress("sending", sent, () => deliverAll({ api, book, concurrency, bulk, signal }, source.lines));
	const sendingMs = sinceStartMs();
	if (signal.aborted) return { sendingMs, settledAfterMs: null, interrupted: true };
	const asked = book.openIds.size;
	const settled = () => {
		const left = book.openIds.size;
		return { part: asked === 0 ? 1 : 1 - left / asked, words: `${asked - left} of ${asked} at an end` };
	};
	await withProgress("asking ", settled, () => settleAll({ api, book, concurrency, waitMs, signal }));
	const settledAfterMs = book.openIds.size === 0 ? sinceStartMs() : null;
	return { sendingMs, settledAfterMs, interrupted: signal.aborted };
}

/** Commander has said itself what is wrong; anything that is not the caller's fault keeps its stack. */
function exitCodeOf(error: unknown): number {
	if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
	const usage = error instanceof UsageFault;
	process.stderr.write(`${usage ? error.message : error instanceof Error ? error.stack : error}\n`);
	return usage ? 2 : 1;
}

try {
	process.exitCode = await main();
} catch (error) {
	process.exitCode = exitCodeOf(error);
}
// run.mjs keeps a channel open that would keep us alive. What stands in the pipe goes out first.
process.stdout.write("", () => process.exit());
