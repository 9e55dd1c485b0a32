import type { Run as ArchiveRun } from "../../contracts/archive.ts";
import { MOVE_STEPS, type MoveStep } from "../../jobs/migrate/migration.ts";
import { eventually } from "../support/eventually.ts";
import type { NodeId } from "../support/fault-system.ts";
import { type MoverProcess, startMover } from "../support/movers.ts";
import type { Counted, Run, Scenario } from "../support/scenario.ts";

/** What is done to the databases while shards move between them. No producer may notice, and every shard arrives. */

const NAMES = ["c0", "c1"] as const;
const LEASE_MS = 1_500;
const NODES: NodeId[] = ["create-1", "query-1", "consume-1", "router-1"];
const SYSTEM = {
	nodes: NODES,
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

const SHARDS = [0, 1, 2, 3];
/** At so many rows per second the moves go on for minutes. */
const SLOW = 5;

async function runOf({ system }: Run, id: NodeId, shard: number, to: string): Promise<ArchiveRun> {
	return (await system.operator(id)("GET", `/v1/ops/archive/runs/move-s0${shard}-${to}`)).body;
}

/** Asks for every shard to be on the other cluster, slowly; tells where each goes. */
async function askForMoves(run: Run): Promise<string[]> {
	const targets = await Promise.all(
		SHARDS.map(async (shard) => ((await clusterOf(run, shard)) === "c0" ? "c1" : "c0")),
	);
	for (const [shard, to] of targets.entries()) {
		const body = { to, rate: SLOW };
		const { status } = await run.system.operator("mover-1")("POST", `/v1/ops/shards/${shard}/move`, body);
		expect(status).toBe(202);
	}
	return targets;
}

const MOVER_KILLED: Scenario = {
	name: "one of two processes with movers killed in the middle of its moves: the other one brings them to their end",
	done: "two mover processes, four shards asked to move, two at a time; the process that has a move in hand kill -9; the rate raised at the other one",
	system: { ...SYSTEM, nodes: [...NODES, "mover-1", "mover-2"] },
	async inject(run) {
		const { system, load } = run;
		await load.acceptedMore(300);
		const targets = await askForMoves(run);
		const isCopying = ({ state, rows }: ArchiveRun) => state === "running" && rows.total > 0;
		const found = await eventually(async () => {
			const all = await Promise.all(targets.map((to, shard) => runOf(run, "mover-1", shard, to)));
			return all.find(isCopying);
		}, "a move under way");
		const [dead, alive] =
			found.node === "mover-1" ? (["mover-1", "mover-2"] as const) : (["mover-2", "mover-1"] as const);
		await system.node(dead).kill();
		await load.acceptedMore(100);
		for (const shard of SHARDS)
			await system.operator(alive)("POST", `/v1/ops/shards/${shard}/resume`, { rate: 1_000_000 });
		for (const [shard, to] of targets.entries()) {
			const isDone = async () => (await runOf(run, alive, shard, to)).state === "done";
			await eventually(isDone, `shard ${shard} moved by ${alive}`, 120_000);
			expect(await clusterOf(run, shard)).toBe(to);
		}
	},
	judge: expectNobodyNoticed,
};

export const MOVE_SCENARIOS: Scenario[] = [KILLED, FROZEN, MOVER_KILLED];
