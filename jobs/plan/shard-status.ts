import type { Run } from "../../contracts/archive.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { ShardState, ShardsState } from "../../contracts/shards.ts";
import { moveShown } from "../../domain/jobs/move-requests.ts";
import type { ShardSize } from "../../domain/jobs/rebalance.ts";
import { timeLeftMs } from "../../domain/jobs/runs.ts";
import { answerWithin } from "../../lib/timeout.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { MOST_RUNS } from "../runs/open-run.ts";
import type { RunStore } from "../runs/run-store.ts";
import { shardSizes } from "./shard-sizes.ts";

/** The map by shard, with sizes and moves: of what answers. */

interface ShardStateDeps {
	clusters: Clusters;
	runs: RunStore;
	nowMs: () => number;
}

const RECORD_MS = 1_500;

export async function shardsState({ clusters, runs, nowMs }: ShardStateDeps, map: RoutingMap): Promise<ShardsState> {
	const [{ sizes, unavailable }, moves] = await Promise.all([
		shardSizes(clusters, map, nowMs()),
		answerWithin(RECORD_MS, runs.list({ kind: "move", limit: MOST_RUNS })),
	]);
	const shards = map.shards.map((_, shard) => stateOf(map, shard, sizes.get(shard), moves ?? []));
	return {
		at: new Date(nowMs()).toISOString(),
		mapVersion: map.version,
		clusters: clusterStates(map, shards),
		shards,
		unavailable: moves === null ? [...unavailable, "runs"] : unavailable,
	};
}

function stateOf(map: RoutingMap, shard: number, size: ShardSize | undefined, moves: Run[]): ShardState {
	const { cluster, lock = null, retained = [] } = map.shards[shard] as RoutingMap["shards"][number];
	const move = moveShown(moves.filter((run) => run.shard === shard));
	const { rows = null, bytes = null, perSecond = null } = size ?? {};
	const shown = move === null ? null : { ...move, leftMs: timeLeftMs(move) };
	return { shard, cluster, rows, bytes, perSecond, lock, retained, move: shown };
}

function clusterStates(map: RoutingMap, shards: ShardState[]): ShardsState["clusters"] {
	return Object.entries(map.clusters).map(([name, { retiring }]) => {
		const own = shards.filter(({ cluster }) => cluster === name);
		const [rows, bytes] = [sumOf(own, "rows"), sumOf(own, "bytes")];
		return { name, shards: own.length, rows, bytes, isRetiring: retiring !== undefined };
	});
}

/** Null where one is not known. */
function sumOf(shards: ShardState[], of: "rows" | "bytes"): number | null {
	return shards.reduce<number | null>((sum, one) => (sum === null || one[of] === null ? null : sum + one[of]), 0);
}
