import { MOVE_STEPS, type MoveStep } from "../../stores/move-shard.ts";
import { eventually } from "../support/eventually.ts";
import { type MoverProcess, startMover } from "../support/movers.ts";
import type { Counted, Run, Scenario } from "../support/scenario.ts";

/** What is done to the databases while shards move between them. No producer may notice, and every shard arrives. */

const NAMES = ["c0", "c1"] as const;
const LEASE_MS = 1_500;
const SYSTEM: Scenario["system"] = {
	nodes: ["create-1", "query-1", "consume-1", "router-1"],
	env: { LOGICAL_SHARDS: "4" },
};

function expectNobodyNoticed({ unknown, refused, failures }: Counted): void {
	expect({ unknown, refused, failures }).toEqual({ unknown: 0, refused: 0, failures: 0 });
}

async function clusterOf({ system }: Run, shard: number): Promise<string> {
	return (await system.shards.map()).shards[shard]?.cluster ?? "";
}

/** Begins to move the shard to the other cluster, and stands still behind the step. */
async function moveUntil(run: Run, shard: number, step: MoveStep): Promise<{ mover: MoverProcess; to: string }> {
	const to = (await clusterOf(run, shard)) === "c0" ? "c1" : "c0";
	const mover = startMover(run.system.servers, { shard, to, leaseMs: LEASE_MS });
	await mover.until(step);
	return { mover, to };
}

/** However the first mover ended: others go on until the shard is there, as runs do. */
async function arrive(run: Run, shard: number, to: string): Promise<void> {
	const isThere = async () => {
		const end = await startMover(run.system.servers, { shard, to, leaseMs: LEASE_MS }).finish();
		return end === "end done" && (await clusterOf(run, shard)) === to;
	};
	await eventually(isThere, `shard ${shard} on ${to}`, 60_000);
}

/**
 * Two shards move in opposite directions, so that each cluster is the source of the one and the target of the other; c0 holds the meta
 * database, too. At every step something is done to each of them in turn.
 */
async function atEveryStep(run: Run, deed: (name: string) => Promise<void>): Promise<void> {
	await run.load.acceptedMore(100);
	for (const step of MOVE_STEPS) {
		for (const name of NAMES) {
			const moves = await Promise.all([0, 1].map((shard) => moveUntil(run, shard, step)));
			const done = deed(name);
			const ends = moves.map(({ mover }) => mover.finish());
			await done;
			await Promise.all(ends);
			for (const [shard, { to }] of moves.entries()) await arrive(run, shard, to);
		}
	}
}

const KILLED: Scenario = {
	name: "source and target of moving shards killed at every step: every shard arrives, with all it holds",
	done: "two shards moving in opposite directions; behind each of the nine steps each of the two mongods (one with the meta database) kill -9, and started again half a second later",
	system: SYSTEM,
	inject: (run) =>
		atEveryStep(run, async (name) => {
			await run.system.mongod(name).kill();
			await run.last(500);
			await run.system.mongod(name).revive();
		}),
	judge: expectNobodyNoticed,
};

const FROZEN: Scenario = {
	name: "source and target of moving shards frozen at every step: every shard arrives, with all it holds",
	done: "two shards moving in opposite directions; behind each of the nine steps each of the two mongods (one with the meta database) SIGSTOP for three seconds, twice the lease of a mover",
	system: SYSTEM,
	inject: (run) =>
		atEveryStep(run, async (name) => {
			await run.system.mongod(name).freeze();
			await run.last(3_000);
			run.system.mongod(name).thaw();
		}),
	judge: expectNobodyNoticed,
};

export const MOVE_SCENARIOS: Scenario[] = [KILLED, FROZEN];
