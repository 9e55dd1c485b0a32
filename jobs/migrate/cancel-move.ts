import type { RoutingMap } from "../../contracts/routing.ts";
import { isOpen } from "../../domain/routing/clusters.ts";
import { shardPlace } from "../../domain/routing/routing.ts";
import { endMove, movesOf, readMove, WHOLE_SHARD } from "../../stores/copy/copy-progress.ts";
import { dropIncoming, findOwnIncoming, type Incoming } from "../../stores/copy/shard-copy-collections.ts";
import { isUnavailable } from "../../stores/mongo/cluster.ts";
import { ShardBusy, type ShardLock, takeShardLock } from "../lock/shard-lock.ts";
import type { MoveDeps } from "./migration.ts";
import type { ShardMove } from "./move-shard.ts";

/**
 * Gives a move up: its copies go, and then the row that knows of them. Whoever was at work on it has lost the duty, and what it still sends
 * names copies that are gone. False: the map was switched before, and the move is to be settled instead.
 */
export async function* cancelMove(deps: MoveDeps, work: ShardMove): AsyncGenerator<string, boolean, void> {
	const lock = await takeShardLock(deps, work.shard, { kind: "move", run: work.run });
	if (lock === null) throw new ShardBusy(work.shard);
	try {
		if (shardPlace(lock.map, work.shard).cluster === work.to) return false;
		yield "taken";
		await dropCopies(deps, lock, work.to);
		return true;
	} finally {
		// Where it cannot be given back, the lease runs out.
		await lock.release().catch(() => lock.abandon());
	}
}

/** A cluster that is being retired and is silent would hold up its shard for ever; should it come back, the copies are named there. */
function noneIfGone(map: RoutingMap, to: string): (error: unknown) => Incoming[] {
	return (error) => {
		if (isUnavailable(error) && !isOpen(map, to)) return [];
		throw error;
	};
}

async function dropCopies({ clusters }: MoveDeps, lock: ShardLock, to: string): Promise<void> {
	const { shard, map } = lock;
	const moves = movesOf(map, shard);
	const row = await readMove(clusters, moves, { _id: WHOLE_SHARD, source: moves.uuid });
	const cluster = clusters.service.get(to);
	// Only this very move may have given copies their final names. Of a cluster that is gone nothing is left.
	const mayBeFinished = row?.to === to && row.finishing === true;
	const place = cluster && { cluster, shard, mayBeFinished };
	const left = place === undefined ? [] : await findOwnIncoming(place).catch(noneIfGone(map, to));
	await lock.confirm();
	if (place !== undefined) await dropIncoming(place, left);
	if (row?.to === to) await endMove(clusters, moves, WHOLE_SHARD);
}
