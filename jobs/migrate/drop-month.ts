import type { CollectionPlace } from "../../contracts/routing.ts";
import { alarmsOf, archiveDatabase } from "../../domain/routing/collection-catalog.ts";
import { dropCollection } from "../../stores/mongo/collections.ts";
import { type DutyDeps, type HeldDuty, ShardBusy, underDuty } from "../lock/shard-lock.ts";
import { type MonthWork, refuseYoung } from "./archive-month.ts";
import { MoveRefused } from "./migration.ts";

/**
 * Drops an archived month of a shard whole. First the map says that it is gone, so that nobody reads it any more; then it is dropped by
 * its UUID; then the map forgets it. Cut off anywhere, it goes on when it is called again; done before is as good.
 */
export async function dropMonth(deps: DutyDeps, { run, shard, month }: MonthWork): Promise<void> {
	refuseYoung(month, deps.nowMs());
	const isDone = await underDuty(deps, shard, { kind: "drop", run }, async (duty) => {
		const place = duty.place(alarmsOf(month));
		if (place !== null) await dropUnder(deps, duty, alarmsOf(month), place);
		return true;
	});
	if (isDone === null) throw new ShardBusy(shard);
}

async function dropUnder(deps: DutyDeps, duty: HeldDuty, name: string, place: CollectionPlace): Promise<void> {
	const { tier, uuid, cluster, away } = place;
	if (cluster === undefined || (tier !== "archive" && tier !== "dropped"))
		throw new MoveRefused("NOT_ARCHIVED", `${name} of shard ${duty.shard} is in tier ${tier}: it is archived first`);
	if (away !== undefined)
		throw new MoveRefused(
			"NOT_ARCHIVED",
			`the source of ${name} of shard ${duty.shard} is still kept: it is dropped when its grace time is over`,
		);
	await duty.setPlace(name, { tier: "dropped", uuid, cluster });
	duty.mustHold();
	await dropCollection(deps.clusters.at(cluster), archiveDatabase(duty.shard), name, uuid);
	await duty.setPlace(name, null);
}
