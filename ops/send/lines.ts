import { type FileHandle, open } from "node:fs/promises";
import { LIMITS } from "../../contracts/alarm.ts";
import { UsageFault } from "./fault.ts";

/** One line of the file that says something. `fault` is set when it is no JSON. */
export interface Line {
	number: number;
	text: string;
	fault?: string;
}

/** A file that is read while its alarms are sent. */
export interface LineSource {
	lines: AsyncIterable<Line>;
	/** From 0 to 1. */
	partTaken(): number;
	close(): Promise<void>;
}

const BYTE_ORDER_MARK = /^\uFEFF/;
/** What `{"alarms":[]}` and a comma for each alarm take of a request's bytes, with room to spare. */
const ENVELOPE_BYTES = 2_048;
const BULK_BYTES = LIMITS.requestBytes - ENVELOPE_BYTES;

/** @throws {UsageFault} when the file cannot be read. Blank lines are passed over; they count only for the line numbers. */
export async function openLines(file: string, limit: number, signal: AbortSignal): Promise<LineSource> {
	const handle = await openFile(file);
	const { size } = await handle.stat();
	let taken = { number: 0, bytes: 0 };
	async function* lines(): AsyncGenerator<Line> {
		for await (const text of handle.readLines()) {
			taken = { number: taken.number + 1, bytes: taken.bytes + Buffer.byteLength(text) + 1 };
			if (signal.aborted) return;
			if (text.trim() !== "") yield toLine(taken.number, text);
			if (taken.number >= limit) return;
		}
	}
	const partTaken = () => Math.min(1, Math.max(taken.number / limit, size === 0 ? 0 : taken.bytes / size));
	return { lines: lines(), partTaken, close: () => closeFile(handle) };
}

async function openFile(file: string): Promise<FileHandle> {
	try {
		const handle = await open(file);
		if (!(await handle.stat()).isDirectory()) return handle;
		await handle.close();
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		throw new UsageFault(code === "ENOENT" ? `There is no file ${file}.` : `Cannot read ${file}: ${code}.`);
	}
	throw new UsageFault(`${file} is a folder; name a file with one alarm a line.`);
}

/** The stream behind `readLines` may have closed it already. */
async function closeFile(handle: FileHandle): Promise<void> {
	if (handle.fd >= 0) await handle.close();
}

function toLine(number: number, raw: string): Line {
	const text = number === 1 ? raw.replace(BYTE_ORDER_MARK, "") : raw;
	try {
		JSON.parse(text);
		return { number, text };
	} catch (error) {
		return { number, text: "", fault: error instanceof Error ? error.message : String(error) };
	}
}

/** Groups of at most `most` lines that fit into one request. */
export async function* inGroups(lines: AsyncIterable<Line>, most: number): AsyncGenerator<Line[]> {
	let group: Line[] = [];
	let bytes = 0;
	for await (const line of lines) {
		const lineBytes = Buffer.byteLength(line.text) + 1;
		if (group.length === most || (group.length > 0 && bytes + lineBytes > BULK_BYTES)) {
			yield group;
			group = [];
			bytes = 0;
		}
		group.push(line);
		bytes += lineBytes;
	}
	if (group.length > 0) yield group;
}
