import { setTimeout as sleep } from "node:timers/promises";
import type { ServiceBroker } from "moleculer";
import type { FieldFault } from "../contracts/alarm.ts";
import type { ArchiveRequest } from "../contracts/archive.ts";
import { invalid } from "../domain/validation-fault.ts";
import { call } from "../lib/moleculer/service.ts";
import { answerText, erasedText, planText, stateText, stoppedText } from "./archive-text.ts";

/** `archive plan | run | status | stop | erase` in the operators' console. */

/** Options as the console hands them on: text, or true for one without a value. */
interface Options {
	/** Of an erase; no option, but the word behind it. */
	userId?: string;
	month?: string;
	shard?: string;
	rate?: string;
	confirmDrops?: string;
	trustClock?: boolean;
	fresh?: boolean;
}

/** Progress is written once a second. */
const BETWEEN_LOOKS_MS = 1_500;

type Do = (broker: ServiceBroker, options: Options) => Promise<string>;

const COMMANDS: Record<string, Do> = {
	plan: async (broker) => planText(await call(broker, "archive.mover.plan", {})),
	run: async (broker, options) => answerText(await call(broker, "archive.mover.run", requestOf(options))),
	stop: async (broker) => stoppedText((await call(broker, "archive.mover.stop", {})).runs),
	status: async (broker) => {
		const first = await call(broker, "archive.mover.status", {});
		if (!first.open?.some(({ state }) => state === "running")) return stateText(first);
		await sleep(BETWEEN_LOOKS_MS);
		return stateText(await call(broker, "archive.mover.status", {}), first);
	},
	erase: async (broker, { userId }) => {
		if (userId === undefined) return "Whom? archive erase <userId>";
		return erasedText(await call(broker, "archive.mover.erase", { userId }));
	},
};

export const ARCHIVE = {
	command: "archive <what> [userId]",
	description: `The archive mover: ${Object.keys(COMMANDS).join(", ")}`,
	options: [
		{ option: "--month <month>", description: "run: only this month, as 2026_08" },
		{ option: "--shard <number>", description: "run: only this shard" },
		{ option: "--rate <rows>", description: "run: rows per second" },
		{ option: "--confirm-drops <months>", description: "run: so many months may be dropped" },
		{ option: "--trust-clock", description: "run: the clock is right although nothing was stored for a week" },
		{ option: "--fresh", description: "run: throw away what was copied; takes up what was refused" },
	],
	/** Moleculer's types call what it gives an array; it is the arguments by name, and the options. */
	async action(broker: ServiceBroker, given: unknown) {
		const { what, userId, options } = given as { what: string; userId?: string; options: Options };
		console.log(await textOf(broker, what, { ...options, ...(userId !== undefined && { userId: String(userId) }) }));
	},
};

async function textOf(broker: ServiceBroker, what: string, options: Options): Promise<string> {
	const run = Object.hasOwn(COMMANDS, what) ? COMMANDS[what] : undefined;
	if (run === undefined) return `There is no "archive ${what}": ${ARCHIVE.description}`;
	const stray = strayWords(what, options);
	if (stray !== null) return stray;
	try {
		return await run(broker, options);
	} catch (error) {
		return troubleText(error);
	}
}

/** What would be passed over in silence: `archive run 2026_08` would begin all that is due. Null: nothing. */
export function strayWords(what: string, { userId, ...options }: Options): string | null {
	if (what !== "erase" && userId !== undefined)
		return `What is "${userId}"? archive ${what} takes options only: archive run --month 2026_08 --shard 7`;
	if (what !== "run" && Object.values(options).some((value) => value !== undefined))
		return `archive ${what} takes no options; they are those of archive run`;
	return null;
}

/** Of the options only those that were given. @throws {Fault} VALIDATION_FAILED */
export function requestOf({ month, shard, rate, confirmDrops, trustClock, fresh }: Options): ArchiveRequest {
	return {
		...(month !== undefined && { month }),
		...(shard !== undefined && { shard: wholeOf("shard", shard) }),
		...(rate !== undefined && { rate: wholeOf("rate", rate) }),
		...(confirmDrops !== undefined && { confirmDrops: wholeOf("confirm-drops", confirmDrops) }),
		...(trustClock && { trustClock }),
		...(fresh && { fresh }),
	};
}

/** Here and not by the action's rules: no number is nothing at all on the bus (JSON), and nothing asked for is everything. */
function wholeOf(field: string, text: string): number {
	if (/^\d+$/.test(text)) return Number(text);
	throw invalid([{ field, rule: "number", message: `--${field} must be a whole number (given: "${text}").` }]);
}

export function troubleText(error: unknown): string {
	const { message, type, data } = error as { message?: string; type?: string; data?: { faults?: FieldFault[] } };
	return [`${type ?? "ERROR"}: ${message ?? error}`, ...(data?.faults ?? []).map((fault) => fault.message)].join("\n");
}
