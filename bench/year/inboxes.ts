import type { RoutingMap } from "../../contracts/routing.ts";
import { idTimeMs, showId } from "../../domain/alarms/ids.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { type Month, monthOf } from "../../domain/time/periods.ts";
import { findSlot, readInbox } from "../../stores/alarms/inbox.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";

/** Whether customers find in their inboxes what was put in. */

const PAGE = 100;

/** What is wrong with an inbox, newest first, as against what was put in, in any order; nothing if it is right. */
export function differences(userId: string, put: AlarmRow[], found: AlarmRow[]): string[] {
	const expected = put.toSorted((one, other) => one._id.compare(other._id)).map(plainOf);
	const read = found.map(plainOf);
	const [wanted, there] = [new Set(expected), new Set(read)];
	const missing = expected.filter((one) => !there.has(one)).length;
	const unknown = read.filter((one) => !wanted.has(one)).length;
	const wrong: string[] = [];
	if (missing > 0) wrong.push(`${userId}: ${missing} of ${put.length} alarms are missing or differ`);
	if (unknown > 0) wrong.push(`${userId}: ${unknown} alarms were never put in like that`);
	if (there.size < read.length) wrong.push(`${userId}: alarms come twice`);
	if (wrong.length === 0 && read.some((one, at) => one !== expected[at])) wrong.push(`${userId}: in the wrong order`);
	return wrong;
}

function plainOf({ _id, ...row }: AlarmRow): string {
	return JSON.stringify([showId(_id), Object.entries(row).sort(([one], [other]) => (one < other ? -1 : 1))]);
}

/** Page after page, as somebody scrolls, from service months on into archived ones. */
export async function readAll(clusters: Clusters, map: RoutingMap, userId: string, nowMs: number): Promise<AlarmRow[]> {
	const found: AlarmRow[] = [];
	for (let after: Buffer | null = null; ; ) {
		const draft = await readInbox(clusters, map, { userId, limit: PAGE, after, fromMs: 0, toMs: nowMs, nowMs });
		found.push(...draft.rows);
		if (!draft.stopped) return found;
		after = draft.lastScanned;
	}
}

/** Ids that were dropped with their months and are there nevertheless. */
export async function stillThere(clusters: Clusters, map: RoutingMap, dropped: AlarmRow[]): Promise<string[]> {
	const slots = await Promise.all(dropped.map(({ _id }) => findSlot(clusters, map, _id)));
	return slots
		.filter((slot) => slot !== null)
		.map(({ _id }) => `${showId(_id)} is there, although its month was dropped`);
}

/** Splits what was put in by whether its month is gone. */
export function byFate(put: AlarmRow[], gone: Set<Month>): { held: AlarmRow[]; dropped: AlarmRow[] } {
	const isGone = ({ _id }: AlarmRow) => gone.has(monthOf(idTimeMs(_id)));
	return { held: put.filter((row) => !isGone(row)), dropped: put.filter(isGone) };
}
