import type { CollectionPlace } from "../../contracts/routing.ts";
import { alarmsOf, archiveDatabase } from "../../domain/routing/collection-catalog.ts";
import { dropCollection } from "../../stores/mongo/collections.ts";
import { type LockDeps, ShardBusy, type ShardLock, withShardLock } from "../lock/shard-lock.ts";
import { type MonthWork, rejectYoung } from "./archive-month.ts";
import { MoveRejected } from "./migration.ts";

/**
 * Drops an archived month of a shard whole. First the map says that it is gone, so that nobody reads it any more; then it is dropped by
 * its UUID; then the map forgets it. Cut off anywhere, it goes on when it is called again; done before is as good.
 */
export async function dropMonth(deps: LockDeps, { run, shard, month }: MonthWork): Promise<void> {
	rejectYoung(month, deps.nowMs());
	const isDone = await withShardLock(deps, shard, { kind: "drop", run }, async (lock) => {
		const place = lock.place(alarmsOf(month));
		if (place !== null) await dropUnder(deps, lock, alarmsOf(month), place);
		return true;
	});
	if (isDone === null) throw new ShardBusy(shard);
}

async function dropUnder(deps: LockDeps, lock: ShardLock, name: string, place: CollectionPlace): Promise<void> {
	const { tier, uuid, cluster, retained } = place;
	if (cluster === undefined || (tier !== "archive" && tier !== "dropped"))
		throw new MoveRejected("NOT_ARCHIVED", `${name} of shard ${lock.shard} is in tier ${tier}: it is archived first`);
	if (retained !== undefined)
		throw new MoveRejected(
			"NOT_ARCHIVED",
			`the source of ${name} of shard ${lock.shard} is still kept: it is dropped when its grace time is over`,
		);
	await lock.setPlace(name, { tier: "dropped", uuid, cluster });
	lock.mustHold();
	await dropCollection(deps.clusters.at(cluster), archiveDatabase(lock.shard), name, uuid);
	await lock.setPlace(name, null);
}
