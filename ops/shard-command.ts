import type { ServiceBroker } from "moleculer";
import { call } from "../lib/moleculer/service.ts";
import { troubleText } from "./archive-command.ts";
import { begunText, historyText, mapText, planText, runText, statusText } from "./shard-text.ts";

/** `shard map | plan | rebalance | move | status | pause | resume | cancel | history` in the operators' console. */

/** Options as the console hands them on: text, or true for one without a value. */
interface Options {
	confirm?: string;
	rate?: string;
	fresh?: boolean;
}

/** What follows `shard` on the line. */
export interface Line {
	what: string;
	shard?: string;
	to?: string;
	options: Options;
}

type Do = (broker: ServiceBroker, line: Line) => Promise<string>;

const COMMANDS: Record<string, Do> = {
	map: async (broker) => mapText(await call(broker, "archive.mover.shards", {})),
	status: async (broker) => statusText(await call(broker, "archive.mover.shards", {})),
	plan: async (broker) => planText(await call(broker, "archive.mover.rebalancePlan", {})),
	rebalance: async (broker, { options: { confirm, ...options } }) =>
		confirm === undefined
			? planText(await call(broker, "archive.mover.rebalancePlan", {}))
			: begunText(await call(broker, "archive.mover.rebalance", { confirm: String(confirm), ...rateOf(options) })),
	move: async (broker, line) => runText(await call(broker, "archive.mover.moveShard", moveOf(line))),
	pause: async (broker, line) => runText(await call(broker, "archive.mover.pauseMove", keyOf(line))),
	resume: async (broker, line) =>
		runText(await call(broker, "archive.mover.resumeMove", { ...keyOf(line), ...rateOf(line.options) })),
	cancel: async (broker, line) => runText(await call(broker, "archive.mover.cancelMove", keyOf(line))),
	history: async (broker, { shard }) =>
		historyText(await call(broker, "archive.mover.history", shard === undefined ? {} : { shard: Number(shard) })),
};

export const SHARD = {
	command: "shard <what> [shard] [to]",
	description: `Shards and their moves: ${Object.keys(COMMANDS).join(", ")}; as in: shard move 7 c4`,
	options: [
		{ option: "--rate <rows>", description: "move, rebalance, resume: rows per second" },
		{ option: "--fresh", description: "move: throw away what was copied; takes up what was refused" },
		{ option: "--confirm <plan>", description: "rebalance: the id that the plan shows" },
	],
	/** Moleculer's types call what it gives an array; it is the arguments by name, and the options. */
	async action(broker: ServiceBroker, given: unknown) {
		console.log(await shardAnswer(broker, given as Line));
	},
};

export async function shardAnswer(broker: ServiceBroker, line: Line): Promise<string> {
	const run = Object.hasOwn(COMMANDS, line.what) ? COMMANDS[line.what] : undefined;
	if (run === undefined) return `There is no "shard ${line.what}". ${SHARD.description}`;
	try {
		return await run(broker, line);
	} catch (error) {
		return troubleText(error);
	}
}

/** What is no number, or not given, is refused by the action, which says so. */
function keyOf({ shard }: Line) {
	return { shard: Number(shard ?? Number.NaN) };
}

function moveOf(line: Line) {
	const { to, options } = line;
	return { ...keyOf(line), to: to ?? "", ...rateOf(options), ...(options.fresh && { fresh: true }) };
}

function rateOf({ rate }: Options) {
	return rate === undefined ? {} : { rate: Number(rate) };
}
