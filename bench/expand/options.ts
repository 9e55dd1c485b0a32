import { Command } from "commander";
import { wholeNumber } from "../../ops/whole-number.ts";

export interface ExpandOptions {
	alarms: number;
	creations: number;
	pages: number;
	marks: number;
	rate?: number;
	seconds: number;
}

/** A walk that shows that it goes, in less than a minute. */
const QUICK = { alarms: 20_000, creations: 60, pages: 20, marks: 32, seconds: 5 };
const FULL: ExpandOptions = { alarms: 400_000, creations: 150, pages: 40, marks: 48, seconds: 20 };

/** @throws {CommanderError} for anything that cannot be meant; `--help` comes that way, too. */
export function readOptions(argv: string[]): ExpandOptions {
	const { quick, ...given } = commandLine()
		.parse(argv, { from: "user" })
		.opts<Partial<ExpandOptions> & { quick?: true }>();
	return { ...FULL, ...(quick && QUICK), ...given };
}

function commandLine(): Command {
	return new Command("npm run demo:expand --")
		.description(
			"Sixteen shards on four databases become sixteen on eight, while alarms are created, read and marked; on servers of its own.",
		)
		.option("--alarms <n>", `in the databases beforehand (${FULL.alarms})`, wholeNumber(0, 20_000_000))
		.option("--creations <n>", `per second (${FULL.creations})`, wholeNumber(1, 2_000))
		.option("--pages <n>", `inbox pages read per second (${FULL.pages})`, wholeNumber(1, 2_000))
		.option("--marks <n>", `alarms marked per second (${FULL.marks})`, wholeNumber(16, 2_000))
		.option("--rate <n>", "rows per second that each move may read (as the mover is set)", wholeNumber(100, 1_000_000))
		.option("--seconds <n>", `of load before and after the moves (${FULL.seconds})`, wholeNumber(1, 3_600))
		.option("--quick", "few alarms and a light load: less than two minutes")
		.exitOverride();
}
