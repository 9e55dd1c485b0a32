import { readFile } from "node:fs/promises";
import path from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { LIMITS } from "../../contracts/alarm.ts";
import { wholeNumber } from "../whole-number.ts";
import { UsageFault } from "./fault.ts";

/** What is to be sent, where to, and how. */
export interface Options {
	file: string;
	concurrency: number;
	bulk: number;
	limit: number;
	waitMs: number;
	json?: boolean;
	url?: string;
	key?: string;
}

/** The options as commander gives them. */
type Given = Omit<Options, "file" | "limit" | "waitMs"> & { wait: number; limit?: number };

const NO_SERVICE = "is the service running? npm start";

/** @throws {CommanderError} for anything that cannot be meant; `--help` comes that way, too. */
export function readOptions(argv: string[]): Options {
	const command = commandLine().parse(argv, { from: "user" });
	const { wait, limit = Number.POSITIVE_INFINITY, ...options } = command.opts<Given>();
	return { ...options, limit, file: command.processedArgs[0] as string, waitMs: wait * 1_000 };
}

function commandLine(): Command {
	return new Command("npm run send --")
		.description("Sends a file of alarms (NDJSON, one a line) and checks by id that each accepted one was stored.")
		.argument("<file>", "one alarm a line, in the form of POST /v1/alarms")
		.option("--concurrency <n>", "requests at a time", wholeNumber(1, 1_024), 64)
		.option(
			"--bulk <n>",
			"alarms per request of POST /v1/alarms/bulk; 0 posts each alone",
			wholeNumber(0, LIMITS.bulkItems),
			0,
		)
		.option("--url <url>", "address of the service (default: of the running npm start)", httpUrl)
		.option("--key <key>", "key of the producer (default: of the running npm start)")
		.option("--limit <n>", "only the first lines of the file (default: all)", wholeNumber(1, Number.MAX_SAFE_INTEGER))
		.option("--wait <seconds>", "how long accepted alarms may take to be stored", wholeNumber(0, 86_400), 90)
		.option("--json", "the result as one JSON object on standard output")
		.exitOverride();
}

function httpUrl(text: string): string {
	if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
	throw new InvalidArgumentError("It must be an address like http://127.0.0.1:3000.");
}

/** Where the service is and what opens it. */
export interface Target {
	url: string;
	key: string;
}

/** What the options say, and for the rest what `npm start` has written into its run directory. @throws {UsageFault} */
export async function findTarget({ url, key }: Pick<Options, "url" | "key">, runDir: string): Promise<Target> {
	if (url !== undefined && key !== undefined) return { url, key };
	const file = path.join(runDir, "ready.json");
	const ready = await readReady(file);
	const target = { url: url ?? ready.url, key: key ?? ready.producerKey };
	if (target.url !== undefined && target.key !== undefined) return { url: target.url, key: target.key };
	throw new UsageFault(`${file} names no address or no key (or give --url and --key): ${NO_SERVICE}`);
}

async function readReady(file: string): Promise<{ url?: string; producerKey?: string }> {
	try {
		return JSON.parse(await readFile(file, "utf8"));
	} catch {
		throw new UsageFault(`${file} is not there (or give --url and --key): ${NO_SERVICE}`);
	}
}

/** @throws {UsageFault} when nothing listens at the address: better now than once for each line. */
export function assertReached(reply: { kind: string; cause?: string }, url: string): void {
	if (reply.kind === "none") throw new UsageFault(`Nothing answers at ${url} (${reply.cause}): ${NO_SERVICE}`);
}
