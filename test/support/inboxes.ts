import { showId } from "../../domain/alarms/ids.ts";
import type { Month } from "../../domain/time/periods.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { putRows, rowIn } from "./months.ts";
import type { Rest } from "./rest.ts";

/** Inboxes over several months, and what each of them must show. */

/** Puts `each` alarms a month into the inbox of each customer of a shard, and adds their ids to `expected`, newest first. */
export async function fillInboxes(
	clusters: Clusters,
	{ shard, customers, months, each }: { shard: number; customers: string[]; months: Month[]; each: number },
	expected: Map<string, string[]>,
): Promise<void> {
	const map = await newestMap(clusters);
	for (const month of months) {
		const rows = customers.flatMap((userId) => Array.from({ length: each }, (_, at) => rowIn(month, userId, at)));
		await putRows(clusters, map, shard, month, rows);
		for (const { _id, userId } of rows) expected.set(userId, [showId(_id), ...(expected.get(userId) ?? [])]);
	}
}

/** Every id of an inbox, page after page; or, like `503 ARCHIVE_UNAVAILABLE`, what stopped it. */
export async function scroll(inbox: Rest, userId: string, limit: number): Promise<string[] | string> {
	const ids: string[] = [];
	for (let cursor: string | null = null; ; ) {
		const after: string = cursor === null ? "" : `&cursor=${cursor}`;
		const { status, body } = await inbox("GET", `/v1/users/${userId}/alarms?limit=${limit}${after}`);
		if (status !== 200) return `${status} ${body.code}`;
		ids.push(...body.items.map(({ id }: { id: string }) => id));
		cursor = body.nextCursor;
		if (cursor === null) return ids;
	}
}
