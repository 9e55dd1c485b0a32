import type { ServiceBroker } from "moleculer";
import type { FieldFault } from "../contracts/alarm.ts";
import { call } from "../lib/moleculer/service.ts";
import { additionText, clustersText, retirementText } from "./cluster-text.ts";

/** `cluster list | add | retire` in the operators' console. */

interface Given {
	what: string;
	name?: string;
	uri?: string;
}

const COMMANDS: Record<string, (broker: ServiceBroker, given: Given) => Promise<string>> = {
	list: async (broker) => clustersText(await call(broker, "shard.router.clusters", {})),
	add: async (broker, { name, uri }) => {
		if (name === undefined || uri === undefined)
			return "Which one, and where? cluster add c4 mongodb://host:port/?replicaSet=c4";
		return additionText(await call(broker, "shard.router.addCluster", { name, uri }));
	},
	retire: async (broker, { name }) => {
		if (name === undefined) return "Which one? cluster retire c4";
		return retirementText(await call(broker, "shard.router.retireCluster", { name }));
	},
};

export const CLUSTER = {
	command: "cluster <what> [name] [uri]",
	description: `Service clusters: ${Object.keys(COMMANDS).join(", ")}`,
	/** Moleculer's types call what it gives an array; it is the arguments by name. */
	async action(broker: ServiceBroker, given: unknown) {
		console.log(await textOf(broker, given as Given));
	},
};

async function textOf(broker: ServiceBroker, given: Given): Promise<string> {
	const run = Object.hasOwn(COMMANDS, given.what) ? COMMANDS[given.what] : undefined;
	if (run === undefined) return `There is no "cluster ${given.what}": ${CLUSTER.description}`;
	try {
		return await run(broker, given);
	} catch (error) {
		const { message, type, data } = error as { message?: string; type?: string; data?: { faults?: FieldFault[] } };
		return [`${type ?? "ERROR"}: ${message ?? error}`, ...(data?.faults ?? []).map((fault) => fault.message)].join(
			"\n",
		);
	}
}
