import { Command, InvalidArgumentError } from "commander";
import { LEDGER_DAYS } from "../../domain/routing/collection-catalog.ts";
import { dayOf, daysBefore } from "../../domain/time/periods.ts";
import { lastDays, WAIT_MS } from "../../jobs/reconcile/reconcile-runner.ts";
import { wholeNumber } from "../whole-number.ts";

/** Which days are reconciled, and how. */
export interface Options {
	/** Ledger days, `2026_11_22`, both included. */
	from: string;
	to: string;
	waitMs: number;
	idsPerSecond?: number;
	json: boolean;
}

interface Given {
	days: number;
	from?: string;
	to?: string;
	wait: number;
	rate?: number;
	json?: boolean;
}

const DEFAULT_DAYS = 2;
const MOST_IDS_PER_SECOND = 1_000_000;

/** @throws {CommanderError} for anything that cannot be meant; `--help` comes that way, too. */
export function readOptions(argv: string[], nowMs: number): Options {
	const command = commandLine(nowMs).parse(argv, { from: "user" });
	const { days, wait, rate, json = false, ...given } = command.opts<Given>();
	const last = lastDays(days, nowMs);
	const { to = last.to } = given;
	const { from = given.to ?? last.from } = given;
	if (from > to) command.error("error: --from must not be after --to");
	return { from, to, waitMs: wait * 1_000, json, ...(rate !== undefined && { idsPerSecond: rate }) };
}

function commandLine(nowMs: number): Command {
	return new Command("npm run reconcile --")
		.description("Checks that everything that was accepted stands in exactly one slot. Reads only, and gently.")
		.option("--days <n>", "days of the ledger, today included", wholeNumber(1, LEDGER_DAYS), DEFAULT_DAYS)
		.option("--from <day>", "first day, as 2026-11-22 (UTC)", ledgerDay(nowMs))
		.option("--to <day>", "last day (default: today)", ledgerDay(nowMs))
		.option(
			"--wait <seconds>",
			"how long what was accepted last may be on its way",
			wholeNumber(0, 3_600),
			WAIT_MS / 1_000,
		)
		.option("--rate <n>", "most ids looked up per second", wholeNumber(1, MOST_IDS_PER_SECOND))
		.option("--json", "the report as one JSON object on standard output")
		.exitOverride();
}

function ledgerDay(nowMs: number): (text: string) => string {
	const oldest = dayOf(daysBefore(nowMs, LEDGER_DAYS - 1));
	return (text) => {
		const day = text.replaceAll("-", "_");
		const isDay = /^\d{4}-\d\d-\d\d$/.test(text) && dayOf(Date.parse(text)) === day;
		if (isDay && day >= oldest && day <= dayOf(nowMs)) return day;
		throw new InvalidArgumentError(
			`It must be a day from ${oldest.replaceAll("_", "-")} to today: the ledger is kept a week.`,
		);
	};
}
