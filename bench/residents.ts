import { writeFile } from "node:fs/promises";
import path from "node:path";
import { showId } from "../domain/alarms/ids.ts";
import type { Lab } from "./lab.ts";
import type { BusyCustomer } from "./load/busy-plan.ts";
import { customersOf } from "./sample.ts";
import { inboxRows, storeRows, tokensOf } from "./stored.ts";

/** Customers of each shard, with full inboxes, who use the app while shards move. */

export interface Residents {
	/** Where the load reads them. */
	file: string;
	/** What was put into their inboxes. */
	alarms: number;
}

/** As many of each shard. */
export async function settleResidents(lab: Lab, eachShard: number, alarmsEach: number): Promise<Residents> {
	const shardCount = lab.map.shards.length;
	const customers: BusyCustomer[] = [];
	let alarms = 0;
	for (const [shard] of lab.map.shards.entries()) {
		const userIds = customersOf(shard, shardCount, eachShard, "busy");
		const rows = inboxRows(userIds, alarmsEach, () => false);
		const byUser = Map.groupBy(rows, ({ userId }) => userId);
		await storeRows(lab, rows);
		const tokens = await tokensOf(lab, userIds);
		alarms += rows.length;
		for (const [at, userId] of userIds.entries()) {
			const ids = (byUser.get(userId) ?? []).map(({ _id }) => showId(_id));
			customers.push({ userId, token: tokens[at] ?? "", shard, ids });
		}
	}
	const file = path.join(lab.dir, "residents.json");
	await writeFile(file, JSON.stringify(customers));
	return { file, alarms };
}
