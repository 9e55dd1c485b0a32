import { Fault } from "../../contracts/errors.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { hasRoomForCategory, isBehind, isRead, type ReadState } from "../../domain/alarms/read-state.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { isArchived, slotOf, type Target } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { changeAlarm, findAlarm, findEvenHidden, hideRow, SET_UNREAD, setRead } from "./inbox.ts";
import { addUnreadMark, dropUnreadMark, loadReadState, moveWatermark, userTarget } from "./user-state.ts";

/** What a customer does to the inbox. Each deed can run twice with the same result. */

export interface Owner {
	clusters: Clusters;
	map: RoutingMap;
	userId: string;
}

/** An alarm together with whether its owner has read it. */
interface MarkedAlarm {
	row: AlarmRow;
	read: boolean;
}

export async function getAlarm(owner: Owner, id: Buffer): Promise<MarkedAlarm> {
	const [row, state] = await Promise.all([findAlarm(owner.clusters, owner.map, owner.userId, id), stateOf(owner)]);
	if (row === null) throw notFound();
	return { row, read: isRead(row, state) };
}

export async function markAlarm(owner: Owner, id: Buffer, read: boolean, nowMs: number): Promise<MarkedAlarm> {
	await change(owner, id, read ? setRead(nowMs) : SET_UNREAD);
	const { row } = await getAlarm(owner, id);
	await (read ? forgetUnreadMark(owner, id) : keepUnreadMark(owner, row));
	return { row, read };
}

export async function hideAlarm(owner: Owner, id: Buffer): Promise<void> {
	const target = slotIn(owner, id);
	if (isArchived(target)) return rejectUnlessHidden(owner, id);
	// The mark first: hidden and still marked, it would count as unread for ever.
	await forgetUnreadMark(owner, id);
	if (!(await hideRow(owner.clusters, target, owner.userId, id))) throw notFound();
}

/** Hidden before its month was archived is as good. */
async function rejectUnlessHidden({ clusters, map, userId }: Owner, id: Buffer): Promise<void> {
	const row = await findEvenHidden(clusters, map, userId, id);
	if (row === null) throw notFound();
	if (!row.hidden) throw archived("hidden");
}

/** Everything at or before `beforeMs` reads as read from now on. */
export async function markAllRead(owner: Owner, mark: { category?: string; beforeMs: number }): Promise<void> {
	const state = await stateOf(owner);
	if (mark.category !== undefined && !hasRoomForCategory(state, mark.category)) {
		throw new Fault(
			"TOO_MANY_MARKS",
			"Too many categories are marked read one by one; mark all read without a category.",
		);
	}
	const after: ReadState =
		mark.category === undefined
			? { allBeforeMs: mark.beforeMs, categoryBeforeMs: {}, unread: [] }
			: { allBeforeMs: -1, categoryBeforeMs: { [mark.category]: mark.beforeMs }, unread: [] };
	const covered = state.unread.filter(({ id, category }) => isBehind(id, category, after)).map(({ id }) => id);
	await moveWatermark(owner.clusters, targetOf(owner), owner.userId, { ...mark, covered });
}

async function change(owner: Owner, id: Buffer, update: Parameters<typeof changeAlarm>[4]): Promise<void> {
	const target = slotIn(owner, id);
	if (!isArchived(target)) {
		if (await changeAlarm(owner.clusters, target, owner.userId, id, update)) return;
	} else if ((await findAlarm(owner.clusters, owner.map, owner.userId, id)) !== null) throw archived("marked");
	throw notFound();
}

function slotIn({ map }: Owner, id: Buffer): Target {
	const target = slotOf(map, id);
	if (target === null) throw notFound();
	return target;
}

async function keepUnreadMark(owner: Owner, row: AlarmRow): Promise<void> {
	if (!isBehind(row._id, row.category, await stateOf(owner))) return;
	if (await addUnreadMark(owner.clusters, targetOf(owner), owner.userId, row._id, row.category)) return;
	throw new Fault("TOO_MANY_MARKS", "Too many alarms are marked unread one by one; mark all read first.");
}

async function forgetUnreadMark(owner: Owner, id: Buffer): Promise<void> {
	const { unread } = await stateOf(owner);
	if (unread.some((mark) => mark.id.equals(id)))
		await dropUnreadMark(owner.clusters, targetOf(owner), owner.userId, id);
}

function stateOf(owner: Owner): Promise<ReadState> {
	return loadReadState(owner.clusters, targetOf(owner), owner.userId);
}

function targetOf({ map, userId }: Owner): Target {
	return userTarget(map, userId);
}

function archived(done: "marked" | "hidden"): Fault {
	return new Fault(
		"ALARM_ARCHIVED",
		`This alarm lies in the archive and cannot be ${done} any more; it can be read, and read-all covers it.`,
	);
}

function notFound(): Fault {
	return new Fault("ALARM_NOT_FOUND", "The inbox has no alarm with this id.");
}
