import { Command } from "commander";
import { wholeNumber } from "../../ops/whole-number.ts";

export interface YearOptions {
	alarms: number;
	customers: number;
	shards: number;
	serviceDays: number;
	archiveDays: number;
}

/** @throws {CommanderError} for anything that cannot be meant; `--help` comes that way, too. */
export function readOptions(argv: string[]): YearOptions {
	const command = commandLine().parse(argv, { from: "user" });
	const options = command.opts<YearOptions>();
	if ((options.shards & (options.shards - 1)) !== 0) command.error("error: --shards must be a power of two");
	if (options.archiveDays <= options.serviceDays)
		command.error("error: --archive-days must be more than --service-days");
	return options;
}

function commandLine(): Command {
	return new Command("npm run demo:year --")
		.description(
			"Fifteen months of a bank's alarms, and the archive mover walking through them, on databases of its own.",
		)
		.option("--alarms <n>", "over all months", wholeNumber(1_500, 20_000_000), 300_000)
		.option("--customers <n>", "who get them, some many more than others", wholeNumber(10, 1_000_000), 2_000)
		.option("--shards <n>", "logical shards, a power of two", wholeNumber(1, 256), 8)
		.option("--service-days <n>", "days in the service tier", wholeNumber(28, 300), 90)
		.option("--archive-days <n>", "days until a month is dropped", wholeNumber(60, 400), 365)
		.exitOverride();
}
