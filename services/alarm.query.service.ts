import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import type { Caller } from "../contracts/access.ts";
import { type InboxFilter, LIMITS } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import { INBOX_FILTER, INBOX_KEY, INBOX_OWNER, MARK, READ_ALL, STATUS_KEY } from "../contracts/rules.ts";
import { belongsTo, idTimeMs, parseId } from "../domain/ids.ts";
import { invalid } from "../domain/invalid.ts";
import { mayBePending } from "../domain/low-watermark.ts";
import { type PageRequest, parseCursor, showCursor } from "../domain/paging.ts";
import { daysBefore, parseMoment } from "../domain/periods.ts";
import { isRead, summarize } from "../domain/read-state.ts";
import { type Slot, toInbox, toStatus } from "../domain/rows.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { defineService } from "../lib/service.ts";
import { admission } from "../mixins/admission.mixin.ts";
import { type HasRouting, routing } from "../mixins/routing.mixin.ts";
import { findSlot, findUnread, readInbox } from "../stores/inbox.ts";
import { HeldLowWatermark } from "../stores/low-watermark.ts";
import { getAlarm, hideAlarm, markAlarm, markAllRead, type Owner } from "../stores/marks.ts";
import { withMap } from "../stores/shard-command.ts";
import { loadReadState, userTarget } from "../stores/user-state.ts";

interface Vars extends HasRouting, HasAdmission {
	watermark: HeldLowWatermark;
}

/** The badge is exact up to here: "99+". */
const UNREAD_CAP = 100;

/** Reads and marks inboxes. Goes on whatever happens on the creation side. */
export default function alarmQuery(config: Config): ServiceSchema {
	return defineService<"alarm.query", Vars>({
		name: "alarm.query",
		mixins: [routing(config), admission(config)],
		actions: {
			list: {
				access: ["customer"],
				params: INBOX_FILTER,
				handler(ctx) {
					const request = pageRequest(ctx.params, Date.now());
					return withMap(this.routing, async (map) => {
						const { rows, lastScanned, stopped, state } = await readInbox(this.clusters, map, request);
						const items = rows.map((row) => toInbox(row, isRead(row, state)));
						return { items, nextCursor: stopped && lastScanned !== null ? showCursor(lastScanned) : null };
					});
				},
			},
			get: {
				access: ["customer"],
				params: INBOX_KEY,
				handler(ctx) {
					const id = ownId(ctx.params);
					return forOwner(this, ctx.params.userId, async (owner) => {
						const { row, read } = await getAlarm(owner, id);
						return toInbox(row, read);
					});
				},
			},
			unreadCount: {
				access: ["customer"],
				params: INBOX_OWNER,
				handler(ctx) {
					const { userId } = ctx.params;
					const nowMs = Date.now();
					const fromMs = daysBefore(nowMs, config.serviceDays);
					return withMap(this.routing, async (map) => {
						const state = await loadReadState(this.clusters, userTarget(map, userId), userId);
						const marked = state.unread.filter(({ id }) => idTimeMs(id) >= fromMs).map(({ category }) => category);
						const limit = UNREAD_CAP + 1 - marked.length;
						const found = await findUnread(this.clusters, map, userId, state, { fromMs, nowMs, limit });
						return summarize([...marked, ...found], UNREAD_CAP);
					});
				},
			},
			mark: {
				access: ["customer"],
				params: MARK,
				handler(ctx) {
					const id = ownId(ctx.params);
					return forOwner(this, ctx.params.userId, async (owner) => {
						const { row, read } = await markAlarm(owner, id, ctx.params.read, Date.now());
						return toInbox(row, read);
					});
				},
			},
			readAll: {
				access: ["customer"],
				params: READ_ALL,
				handler(ctx) {
					const { userId, category, before } = ctx.params;
					const beforeMs = Math.min(before === undefined ? Date.now() : moment("before", before), Date.now());
					return forOwner(this, userId, async (owner) => {
						await markAllRead(owner, { beforeMs, ...(category !== undefined && { category }) });
						return { before: new Date(beforeMs).toISOString() };
					});
				},
			},
			hide: {
				access: ["customer"],
				params: INBOX_KEY,
				handler(ctx) {
					const id = ownId(ctx.params);
					return forOwner(this, ctx.params.userId, async (owner) => {
						await hideAlarm(owner, id);
						return null;
					});
				},
			},
			status: {
				access: ["producer", "operator"],
				params: STATUS_KEY,
				async handler(ctx, caller) {
					const id = parseId(ctx.params.id);
					if (id === null) throw unknownAlarm(ctx.params.id);
					// The watermark first: an alarm that is stored between the two is then found in its slot.
					const watermarkMs = this.watermark.atMs;
					const slot = await withMap(this.routing, (map) => findSlot(this.clusters, map, id));
					if (slot === null ? !mayBePending(id, watermarkMs, Date.now()) : !mayAsk(caller, slot))
						throw unknownAlarm(ctx.params.id);
					return toStatus(id, slot);
				},
			},
		},
		async started() {
			this.watermark = new HeldLowWatermark(this.clusters);
			this.watermark.start();
		},
		async stopped() {
			this.watermark?.stop();
		},
	});
}

function forOwner<R>(
	{ routing, clusters }: Service & Vars,
	userId: string,
	deed: (owner: Owner) => Promise<R>,
): Promise<R> {
	return withMap(routing, (map) => deed({ clusters, map, userId }));
}

function pageRequest({ userId, limit, cursor, category, read, from, to }: InboxFilter, nowMs: number): PageRequest {
	const after = cursor === undefined ? null : parseCursor(cursor, userId);
	if (cursor !== undefined && after === null) {
		throw new Fault("BROKEN_CURSOR", "This cursor was not issued for this inbox; begin again without one.");
	}
	return {
		userId,
		limit: limit ?? LIMITS.pageDefault,
		after,
		...(category !== undefined && { category }),
		...(read !== undefined && { read }),
		fromMs: from === undefined ? 0 : moment("from", from),
		toMs: to === undefined ? Number.MAX_SAFE_INTEGER : moment("to", to),
		nowMs,
	};
}

function moment(field: string, text: string): number {
	const timeMs = parseMoment(text);
	if (!Number.isNaN(timeMs)) return timeMs;
	const message = `"${field}" is no moment that exists: ${text}.`;
	throw invalid([{ field, rule: "moment", message }]);
}

/** The id, if it can be one of this customer's. */
function ownId({ userId, id }: { userId: string; id: string }): Buffer {
	const parsed = parseId(id);
	if (parsed !== null && belongsTo(parsed, userId)) return parsed;
	throw new Fault("ALARM_NOT_FOUND", "The inbox has no alarm with this id.");
}

/** Only the producer that sent it, or an operator; for others the id does not exist. */
function mayAsk(caller: Caller, { producer }: Slot): boolean {
	return caller.role === "operator" || producer === caller.name;
}

function unknownAlarm(id: string): Fault {
	return new Fault("UNKNOWN_ALARM", `No alarm with the id ${id} is known.`);
}
