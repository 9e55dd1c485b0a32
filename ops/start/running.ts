import { rmSync } from "node:fs";
import type { Front } from "../front.ts";
import type { Backend } from "./backends.ts";
import type { Control } from "./control.ts";
import { stopLeftOvers } from "./processes.ts";
import type { Ready } from "./ready.ts";
import type { RoleName, RunningRole } from "./roles.ts";
import type { RunDir } from "./run-dir.ts";

/** All that has been started and must be stopped again. */
export interface Running {
	front: Front | undefined;
	control?: Control;
	roles: Map<RoleName, RunningRole>;
	backends: Map<string, Backend>;
}

/** The order of stopping: whoever uses something stops before it. Those of one group stop together. */
export function stopGroups({ front, control, roles, backends }: Running): { stop(): Promise<void> }[][] {
	const role = (name: RoleName) => roles.get(name);
	const databases = [...backends.values()].filter(({ name }) => name !== "nats");
	const groups = [
		[front, control],
		[role("create"), role("query")],
		[role("consume")],
		[role("mover")],
		[backends.get("nats")],
	];
	return [...groups.map((group) => group.filter((part) => part !== undefined)), databases];
}

/** Stops everything; a part that cannot be stopped does not keep the others running. */
export async function stopAll(running: Running, runDir: RunDir): Promise<void> {
	rmSync(runDir.ready, { force: true });
	for (const group of stopGroups(running)) await Promise.allSettled(group.map((part) => part.stop()));
	await stopLeftOvers(runDir); // a server that somebody else has started again in our folder
	rmSync(runDir.pids, { force: true });
}

export function pidsOf({ roles, backends }: Running): Ready["pids"] {
	const nats = backends.get("nats");
	const databases = [...backends.values()].filter(({ name }) => name !== "nats");
	const pidOf = (name: RoleName) => roles.get(name)?.pid() ?? 0;
	return {
		...(nats && { nats: nats.pid }),
		mongod: Object.fromEntries(databases.map(({ name, pid }) => [name, pid])),
		create: pidOf("create"),
		query: pidOf("query"),
		consume: pidOf("consume"),
		mover: pidOf("mover"),
	};
}
