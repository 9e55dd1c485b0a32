import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import type { Caller } from "../contracts/access.ts";
import { type InboxFilter, LIMITS } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import type { FailurePage } from "../contracts/failures.ts";
import {
	DISCARD,
	FAILURE_EXPORT,
	FAILURE_QUERY,
	INBOX_FILTER,
	INBOX_KEY,
	INBOX_OWNER,
	MARK,
	READ_ALL,
	REDRIVE,
	STATUS_KEY,
} from "../contracts/rules.ts";
import { failureRequest, showFailureCursor, toFailure } from "../domain/alarms/failures.ts";
import { belongsTo, idTimeMs, parseId } from "../domain/alarms/ids.ts";
import { mayBePending } from "../domain/alarms/low-watermark.ts";
import { type PageRequest, parseCursor, showCursor } from "../domain/alarms/paging.ts";
import { isRead, summarize } from "../domain/alarms/read-state.ts";
import { isTombstone, type Slot, toInbox, toStatus } from "../domain/alarms/rows.ts";
import { isInService } from "../domain/routing/routing.ts";
import { daysBefore } from "../domain/time/periods.ts";
import { momentMs } from "../domain/validation-fault.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { toCsv } from "../lib/http/failures-csv.ts";
import { defineService } from "../lib/moleculer/service.ts";
import { Pacer } from "../lib/rate-limiter.ts";
import { admission } from "../mixins/admission.mixin.ts";
import { type HasRouting, routing } from "../mixins/routing.mixin.ts";
import { findSlot, findUnread, readInbox } from "../stores/alarms/inbox.ts";
import { getAlarm, hideAlarm, markAlarm, markAllRead, type Owner } from "../stores/alarms/read-marks.ts";
import { loadReadState, userTarget } from "../stores/alarms/user-state.ts";
import { discardMany, type FailureDeps, LONG_CALL_MS, redriveMany } from "../stores/failures/bulk-actions.ts";
import { type FailureList, listFailures, listManyFailures } from "../stores/failures/failures.ts";
import { CachedLowWatermark } from "../stores/routing/low-watermark.ts";
import { withMap } from "../stores/routing/with-map.ts";

interface Vars extends HasRouting, HasAdmission {
	watermark: CachedLowWatermark;
	/** Of redrives, over all callers of this process. */
	pacer: Pacer;
}

/** The badge is exact up to here: "99+". */
const UNREAD_CAP = 100;
/** On the bus one answer has at most 1 MB; between a gateway and an action of one process there is no such limit. */
const BUS_BYTES = 512 * 1024;

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
						const counts = ({ id }: { id: Buffer }) => idTimeMs(id) >= fromMs && isInService(map, id);
						const marked = state.unread.filter(counts).map(({ category }) => category);
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
					const beforeMs = Math.min(before === undefined ? Date.now() : momentMs("before", before), Date.now());
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
			failures: {
				access: ["producer", "operator"],
				params: FAILURE_QUERY,
				handler(ctx, caller) {
					const request = failureRequest(ctx.params, caller);
					return withMap(this.routing, async (map) => toFailurePage(await listFailures(this.clusters, map, request)));
				},
			},
			exportFailures: {
				access: ["producer", "operator"],
				params: FAILURE_EXPORT,
				async handler(ctx, caller) {
					const request = failureRequest(ctx.params, caller);
					const bytes = ctx.nodeID === this.broker.nodeID ? Number.POSITIVE_INFINITY : BUS_BYTES;
					const limits = { rows: LIMITS.exportRows, bytes, endMs: Date.now() + LONG_CALL_MS };
					const list = await withMap(this.routing, (map) => listManyFailures(this.clusters, map, request, limits));
					const { items, ...rest } = toFailurePage(list);
					return { csv: toCsv(items), ...rest };
				},
			},
			redrive: {
				access: ["producer", "operator"],
				params: REDRIVE,
				handler(ctx, caller) {
					return redriveMany(failureDeps(this), ctx.params, caller);
				},
			},
			discard: {
				access: ["operator"],
				params: DISCARD,
				handler(ctx, caller) {
					return discardMany(failureDeps(this), ctx.params, caller);
				},
			},
		},
		async started() {
			this.pacer = new Pacer(config.redrivePerSecond);
			this.watermark = new CachedLowWatermark(this.clusters);
			this.watermark.start();
		},
		async stopped() {
			this.watermark?.stop();
		},
	});
}

function failureDeps({ clusters, routing, pacer, logger }: Service & Vars): FailureDeps {
	return { clusters, routing, pacer, onError: (error) => logger.error(`a failure: ${error}`) };
}

function toFailurePage({ rows, more, unavailable }: FailureList): FailurePage {
	const last = rows.at(-1);
	const nextCursor = more && last !== undefined ? showFailureCursor(last) : null;
	return { items: rows.map(toFailure), nextCursor, ...(unavailable.length > 0 && { unavailable }) };
}

function forOwner<R>(
	{ routing, clusters }: Service & Vars,
	userId: string,
	work: (owner: Owner) => Promise<R>,
): Promise<R> {
	return withMap(routing, (map) => work({ clusters, map, userId }));
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
		fromMs: from === undefined ? 0 : momentMs("from", from),
		toMs: to === undefined ? Number.MAX_SAFE_INTEGER : momentMs("to", to),
		nowMs,
	};
}

/** The id, if it can be one of this customer's. */
function ownId({ userId, id }: { userId: string; id: string }): Buffer {
	const parsed = parseId(id);
	if (parsed !== null && belongsTo(parsed, userId)) return parsed;
	throw new Fault("ALARM_NOT_FOUND", "The inbox has no alarm with this id.");
}

/**
 * Only the producer that sent it, or an operator; for others the id does not exist. Of an item that could not be read nobody knows the
 * producer: its tombstone, which tells only its cause, answers to any that knows the id.
 */
function mayAsk(caller: Caller, slot: Slot): boolean {
	if (caller.role === "operator" || slot.producer === caller.name) return true;
	return isTombstone(slot) && slot.producer === undefined;
}

function unknownAlarm(id: string): Fault {
	return new Fault("UNKNOWN_ALARM", `No alarm with the id ${id} is known.`);
}
