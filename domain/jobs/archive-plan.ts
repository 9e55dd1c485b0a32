import type { ArchivePlan, ArchiveRequest, DueMonth, KeptMonth, RunReason } from "../../contracts/archive.ts";
import type { CollectionPlace, RoutingMap } from "../../contracts/routing.ts";
import { monthOfCollection } from "../routing/collection-catalog.ts";
import { type ClockReading, clockTrouble } from "../time/clock.ts";
import { daysBefore, type Month, monthEndMs, monthOf } from "../time/periods.ts";
import { invalid } from "../validation-fault.ts";

/**
 * What is to be archived and dropped. A clock that jumps must not move or drop what is in use: months come from the collections' names,
 * the clock has to fit the databases' clocks and what is stored, and nothing is touched that may still be on its way.
 */
export interface ArchiveFacts {
	map: RoutingMap;
	nowMs: number;
	/** Null: nobody has ever published one, or it cannot be true. */
	lowWatermarkMs: number | null;
	/** The newest alarm of a sample, so never later than the newest there is. Null: nothing is stored. */
	newestMs: number | null;
	/** What the databases' clocks said; none where the planning clock is not meant to be the real one. */
	clocks: ClockReading[];
}

export interface ArchiveLimits {
	serviceDays: number;
	archiveDays: number;
	/** Months that one plan may drop without being confirmed. */
	mostDrops: number;
}

/** A system that is in use has stored something within a week. */
const MOST_SILENCE_DAYS = 7;
/** Ids further ahead than this are not stored (CLOCK_SKEW). */
const MOST_AHEAD_MS = 60_000;

/** What would be made of these facts now. @throws {Fault} VALIDATION_FAILED when a shard is asked for that there is none of. */
export function archivePlan(facts: ArchiveFacts, limits: ArchiveLimits, asked: ArchiveRequest = {}): ArchivePlan {
	rejectUnknownShard(facts.map, asked);
	const found = monthsOf(facts.map, asked).map((one) => ({ ...one, ...judge(one, facts, limits, asked) }));
	const judged = confirmed(found, limits, asked);
	const due = judged.filter((one) => one.why === null).sort(byAge);
	const refused = clockFault(facts, due.length > 0, asked);
	return {
		at: iso(facts.nowMs),
		newestStored: facts.newestMs === null ? null : iso(facts.newestMs),
		lowWatermark: facts.lowWatermarkMs === null ? null : iso(facts.lowWatermarkMs),
		due: refused === null ? due.map(({ kind, shard, month }) => ({ kind, shard, month })) : [],
		kept: [...notHeld(judged, asked), ...keptMonths(judged)],
		refused,
	};
}

/** With nothing due there, it would look as if all were well. */
function rejectUnknownShard({ shards }: RoutingMap, { shard = 0 }: ArchiveRequest): void {
	if (shard < shards.length) return;
	const message = `There is no shard ${shard}: there are ${shards.length}, from 0 on.`;
	throw invalid([{ field: "shard", rule: "unknown", message }]);
}

interface Held {
	shard: number;
	month: Month;
	place: CollectionPlace;
}
interface Verdict {
	kind: DueMonth["kind"];
	/** Null: due. `quiet` is no news: the month is simply young. */
	why: RunReason | "quiet" | null;
}
type Judged = Held & Verdict;

function monthsOf(map: RoutingMap, asked: ArchiveRequest): Held[] {
	return map.shards.flatMap(({ collections }, shard) =>
		Object.entries(collections).flatMap(([name, place]) => {
			const month = monthOfCollection(name);
			const isAsked = month !== null && (asked.month ?? month) === month && (asked.shard ?? shard) === shard;
			return isAsked ? [{ shard, month, place }] : [];
		}),
	);
}

function judge(held: Held, facts: ArchiveFacts, limits: ArchiveLimits, asked: ArchiveRequest): Verdict {
	const kind = kindOf(held.place);
	if (!isBegun(held.place) && !isOldEnough(kind, held.month, facts.nowMs, limits)) {
		return { kind, why: asked.month === undefined ? "quiet" : notDue(kind, held.month, limits) };
	}
	return { kind, why: blockers(kind, held, facts, asked) };
}

/** A month that lies in the service tier is archived first, however old it is: it is dropped from the archive by a later plan. */
function kindOf({ tier, retained }: CollectionPlace): DueMonth["kind"] {
	const isArchived = tier === "dropped" || (tier === "archive" && retained?.settled !== false);
	return isArchived ? "drop" : "archive";
}

/** What was cut off in the middle is always brought to its end. */
function isBegun({ tier, retained }: CollectionPlace): boolean {
	return tier === "moving" || tier === "dropped" || retained?.settled === false;
}

/** Whether the last day of a month is older than the limit of its next step. */
export function isOldEnough(kind: DueMonth["kind"], month: Month, nowMs: number, limits: ArchiveLimits): boolean {
	return monthEndMs(month) < daysBefore(nowMs, kind === "archive" ? limits.serviceDays : limits.archiveDays);
}

function blockers(kind: DueMonth["kind"], { month, place }: Held, facts: ArchiveFacts, asked: ArchiveRequest) {
	if (month >= firstInUse(facts, asked)) return reason("MONTH_IN_USE", `${month} is still being written to.`);
	if (facts.lowWatermarkMs === null || monthEndMs(month) >= facts.lowWatermarkMs) {
		const upTo = facts.lowWatermarkMs === null ? "is not known" : `is at ${iso(facts.lowWatermarkMs)}`;
		return reason("WATERMARK_BEHIND", `Alarms of ${month} may be on their way: the low-watermark ${upTo}.`);
	}
	if (kind === "drop" && place.tier === "archive" && place.retained !== undefined) {
		return reason("SOURCE_KEPT", `The source of ${month} is kept for its time of grace.`);
	}
	return null;
}

/** The current month; an earlier one where nothing newer is stored, unless somebody says that the clock is right. */
function firstInUse({ nowMs, newestMs }: ArchiveFacts, { trustClock }: ArchiveRequest): Month {
	return monthOf(trustClock ? nowMs : Math.min(nowMs, newestMs ?? nowMs));
}

/** Why a month that somebody named stays where it is. */
export function notDue(kind: DueMonth["kind"], month: Month, { serviceDays, archiveDays }: ArchiveLimits): RunReason {
	const [work, limit] =
		kind === "archive" ? ["archived", `SERVICE_DAYS (${serviceDays})`] : ["dropped", `ARCHIVE_DAYS (${archiveDays})`];
	return reason("NOT_DUE", `${month} is ${work} when its last day is older than ${limit}.`);
}

function notHeld(judged: Judged[], { month, shard }: ArchiveRequest): KeptMonth[] {
	if (month === undefined || judged.length > 0) return [];
	const nobody = shard === undefined ? "No shard has" : `Shard ${shard} has no`;
	return [{ month, shards: [], reason: reason("NOT_HELD", `${nobody} alarms of ${month}.`) }];
}

/** Many months at once are more likely a wrong clock or a wrong setting than age: somebody has to say the number. */
function confirmed(judged: Judged[], { mostDrops }: ArchiveLimits, { confirmDrops }: ArchiveRequest): Judged[] {
	const isNewDrop = ({ kind, why, place }: Judged) => kind === "drop" && why === null && place.tier === "archive";
	const months = new Set(judged.filter(isNewDrop).map(({ month }) => month)).size;
	if (months <= mostDrops || confirmDrops === months) return judged;
	const why = reason(
		"TOO_MANY_DROPS",
		`${months} months would be dropped at once, and ARCHIVE_MOST_DROPS is ${mostDrops}: if that is right, run with confirmDrops ${months}.`,
	);
	return judged.map((one) => (isNewDrop(one) ? { ...one, why } : one));
}

/** Why this clock is not to be believed, or null. */
function clockFault({ nowMs, newestMs, clocks }: ArchiveFacts, isWork: boolean, { trustClock }: ArchiveRequest) {
	// Of two real clocks one is wrong, and can be set right: nobody can vouch for that.
	const trouble = clockTrouble(clocks);
	if (trouble !== null) return doubtful(`By the databases' clocks, ${trouble}.`);
	if (trustClock) return null;
	if (newestMs === null) {
		return isWork ? doubtful(`Nothing is stored by which this clock (${iso(nowMs)}) can be checked. ${SAY_SO}`) : null;
	}
	const isSilent = newestMs < daysBefore(nowMs, MOST_SILENCE_DAYS);
	if (!isSilent && newestMs <= nowMs + MOST_AHEAD_MS) return null;
	const how = isSilent ? `more than ${MOST_SILENCE_DAYS} days after` : "more than a minute before";
	return doubtful(`This clock says ${iso(nowMs)}, ${how} the newest stored alarm (${iso(newestMs)}). ${SAY_SO}`);
}

const SAY_SO = "If the clock is right, run with trustClock true.";

function doubtful(message: string): RunReason {
	return reason("CLOCK_DOUBTFUL", message);
}

function reason(code: string, message: string): RunReason {
	return { code, message };
}

function byAge(one: DueMonth, other: DueMonth): number {
	return one.month < other.month ? -1 : one.month > other.month ? 1 : one.shard - other.shard;
}

function keptMonths(judged: Judged[]): KeptMonth[] {
	const kept = judged.flatMap(({ month, shard, why }) =>
		why === null || why === "quiet" ? [] : [{ month, shard, why }],
	);
	const groups = Map.groupBy(kept, ({ month, why }) => `${month} ${why.code}`);
	const months = [...groups.values()].map((some) => ({
		month: some[0]?.month ?? "",
		shards: some.map(({ shard }) => shard),
		reason: some[0]?.why as RunReason,
	}));
	return months.sort((one, other) => (one.month < other.month ? -1 : 1));
}

function iso(timeMs: number): string {
	return new Date(timeMs).toISOString();
}
