import type { ClusterAddition, ClusterList, ClusterRetirement, ClusterState } from "../contracts/clusters.ts";
import { aligned, sizeText } from "./table.ts";

/** Service clusters as an operator reads them on a console. */

export function clustersText({ clusters, retired, mapVersion }: ClusterList): string {
	const head = ["cluster", "shards", "rows", "on disk", "outbox", "ledger days", "address", ""];
	const ways = clusters.flatMap(({ name, blockers = [] }) => blockers.map((why) => `${name} stays: ${why}`));
	const gone = Object.entries(retired).map(([name, at]) => `${name} was retired at ${at}`);
	return [...aligned([head, ...clusters.map(rowOf)]), ...ways, ...gone, `Version ${mapVersion} of the map.`].join("\n");
}

function rowOf({ name, shards, rows, bytes, outbox, ledgerDays, address, answers, retiring }: ClusterState): string[] {
	const state = answers ? (retiring === undefined ? "" : "retiring") : "DOES NOT ANSWER";
	return [
		name,
		shards.join(" ") || "-",
		rows === null ? "?" : rows.toLocaleString("en"),
		bytes === null ? "?" : sizeText(bytes),
		outbox === null ? "?" : String(outbox),
		ledgerDays === null ? "?" : String(ledgerDays.length),
		address,
		state,
	];
}

const ADDED = {
	added: "is part of the system now; it holds no shard yet: move some there (shard rebalance)",
	known: "was part of the system already",
	readdressed: "has this address now",
	returned: "is no longer being retired",
} as const;

export function additionText({ name, address, state }: ClusterAddition): string {
	return `${name} (${address}) ${ADDED[state]}.`;
}

export function retirementText({ name, state, blockers }: ClusterRetirement): string {
	if (state === "retired") return `${name} is no part of the system any more.`;
	const ways = blockers.map((why) => `  ${why}`);
	return [`${name} gets nothing new from now on. It leaves by itself when nothing is in the way:`, ...ways].join("\n");
}
