import type { Document } from "mongodb";
import type { NewAlarm } from "../../contracts/alarm.ts";
import type { Reply, Rest } from "./rest.ts";

/**
 * Holds what producers were told against what the databases hold, and shares no code with the service in doing so:
 * ok is stored exactly once and unchanged, refused is not stored, unknown is stored at most once. Every alarm carries a mark of
 * its own in `data.mark`, by which its rows are found also when the producer never learned an id.
 */

export type Told =
	| { is: "ok"; id: string; via?: string }
	/** Answered before any write, or never connected. */
	| { is: "refused"; why: string }
	/** It may have been accepted; the id is there when the service has said which. */
	| { is: "unknown"; why: string; id?: string };

export type Marked = NewAlarm & { data: { mark: string } };
export interface Sent {
	alarm: Marked;
	told: Told;
	/** What must become of it once it is accepted; stored, if nothing is said. */
	ends?: "failed" | "expired";
}

/** Posts one alarm, once. */
export async function send(producer: Rest, alarm: Marked): Promise<Sent> {
	try {
		return { alarm, told: classify(await producer("POST", "/v1/alarms", alarm)) };
	} catch (error) {
		return { alarm, told: classifySilence(error) };
	}
}

/** Posts alarms as one bulk request, once. */
export async function sendBulk(producer: Rest, alarms: Marked[]): Promise<Sent[]> {
	try {
		const reply = await producer("POST", "/v1/alarms/bulk", { alarms });
		return alarms.map((alarm, at) => ({ alarm, told: classifyItem(reply, at) }));
	} catch (error) {
		return alarms.map((alarm) => ({ alarm, told: classifySilence(error) }));
	}
}

/** What the answer to a bulk creation means to the producer of one of its alarms. */
export function classifyItem(reply: Pick<Reply, "status" | "body">, at: number): Told {
	const item = reply.body?.items?.[at];
	if (item === undefined) return classify(reply);
	if (typeof item.id === "string") return { is: "ok", id: item.id };
	const { code, ids } = item.error ?? {};
	// An item has no status of its own. Doubtful is what says so, and what says nothing.
	const isDoubtful =
		code === undefined || code === "ACCEPTANCE_UNKNOWN" || code === "INTERNAL" || code === "UNAVAILABLE";
	return classify({ status: isDoubtful ? 503 : 422, body: { code, ids } });
}

/** What an answer to a single creation means to its producer. */
export function classify({ status, body }: Pick<Reply, "status" | "body">): Told {
	if (status === 202 && typeof body?.id === "string") {
		return { is: "ok", id: body.id, ...(body.via !== undefined && { via: body.via }) };
	}
	const why = `${status} ${body?.code ?? "without a code"}`;
	const isRefused = (status >= 400 && status < 500) || body?.code === "OVERLOADED";
	if (isRefused) return { is: "refused", why };
	const [id] = body?.ids ?? [];
	return { is: "unknown", why, ...(id !== undefined && { id }) };
}

/** No answer: harmless only when there was no connection over which the request could have gone. */
export function classifySilence(error: unknown): Told {
	const { cause, message } = error as { cause?: { code?: string; message?: string }; message?: string };
	const why = cause?.code ?? cause?.message ?? message ?? String(error);
	return { is: why === "ECONNREFUSED" ? "refused" : "unknown", why };
}

/** How many were told what. */
export function tally(sent: Sent[]): Record<Told["is"], number> {
	const counts = { ok: 0, refused: 0, unknown: 0 };
	for (const { told } of sent) counts[told.is]++;
	return counts;
}

export function okIds(sent: Sent[]): string[] {
	return sent.flatMap(({ told }) => (told.is === "ok" ? [told.id] : []));
}

/**
 * Every promise that the slots of all months break, one sentence each. `sent` is all that was ever sent to this system; an alarm
 * that was sent again, with its idempotency key, stands in it again with the same mark.
 */
export function brokenPromises(sent: Sent[], months: Document[]): string[] {
	const [tombstones, alarms] = [months.filter(isTombstone), months.filter((row) => !isTombstone(row))];
	const rows = alarms.map(toStored);
	const byMark = Map.groupBy(rows, ({ mark }) => mark);
	const known = new Set(sent.map(({ alarm }) => alarm.data.mark));
	const strange = rows.filter(({ mark }) => mark === undefined || !known.has(mark));
	const duplicates = duplicatesAmong(tombstones);
	return [
		...strange.map(({ id, content }) => `${id} is in the databases and was never sent: ${JSON.stringify(content)}`),
		...idsGivenTwice(sent),
		...unfoundedTombstones(tombstones, sent, rows),
		...[...Map.groupBy(sent, ({ alarm }) => alarm.data.mark).values()].flatMap((some) =>
			faultsOf(some, byMark.get(some[0]?.alarm.data.mark) ?? [], duplicates),
		),
	];
}

/** All that a system holds when nothing is on its way any more. */
export interface Held {
	/** The slots: alarms and tombstones. */
	months: Document[];
	failures: Document[];
	/** Of idempotency keys. */
	keys: Document[];
	outbox: Document[];
	/** Messages by their subject, parked ones among them. */
	queued: Record<string, number>;
}

/** Every promise that is broken once all is healed and drained, one sentence each. */
export function brokenAfterDrain(sent: Sent[], held: Held): string[] {
	return [
		...brokenPromises(sent, held.months),
		...failureFaults(sent, held.failures),
		...keyFaults(held),
		...held.outbox.map(({ _id }) => `the outbox still holds ${_id}`),
		...Object.entries(held.queued).map(([subject, count]) => `the queue still holds ${count} on ${subject}`),
	];
}

/** How many ids ended as duplicates of another. */
export function countDuplicates(held: Held): number {
	return held.months.filter(({ outcome }) => outcome === "duplicate").length;
}

interface Stored {
	id: string;
	mark: string | undefined;
	content: Record<string, unknown>;
}

const showId = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
const isTombstone = (row: Document) => row.outcome !== undefined;

/** By the id of each duplicate the id of its original. */
function duplicatesAmong(tombstones: Document[]): Map<string, string> {
	const found = tombstones.filter(({ outcome, of }) => outcome === "duplicate" && of !== undefined);
	return new Map(found.map(({ _id, of }) => [showId(_id), showId(of)]));
}

/** A tombstone needs a reason: a failure that was to be, or an original that is stored and carried a key. */
function unfoundedTombstones(tombstones: Document[], sent: Sent[], rows: Stored[]): string[] {
	const toFail = new Set(idsToEnd(sent, "failed"));
	const toExpire = new Set(idsToEnd(sent, "expired"));
	const keyed = new Set(sent.filter(({ alarm }) => alarm.idempotencyKey).map(({ alarm }) => alarm.data.mark));
	const originals = new Set(rows.filter(({ mark }) => mark !== undefined && keyed.has(mark)).map(({ id }) => id));
	const isFounded = ({ _id, outcome, of }: Document) => {
		if (outcome === "duplicate") return of !== undefined && originals.has(showId(of));
		return (outcome === "expired" ? toExpire : toFail).has(showId(_id));
	};
	return tombstones
		.filter((row) => !isFounded(row))
		.map(({ _id, outcome, why }) => `${showId(_id)} ended as ${outcome} without a reason: ${JSON.stringify(why)}`);
}

function idsToEnd(sent: Sent[], as: Sent["ends"]): string[] {
	return sent.flatMap(({ told, ends }) => (ends === as && told.is === "ok" ? [told.id] : []));
}

/** What was to fail has its row, once; nothing else has one: an outage is no failure. */
function failureFaults(sent: Sent[], failures: Document[]): string[] {
	const toFail = new Set(idsToEnd(sent, "failed"));
	const found = failures.map(({ _id }) => showId(_id));
	const unfounded = failures.filter(({ _id }) => !toFail.has(showId(_id)));
	return [
		...unfounded.map(({ _id, code, message }) => `${showId(_id)} is listed as a failure: ${code} ${message}`),
		...[...toFail].filter((id) => !found.includes(id)).map((id) => `${id} failed and is not listed`),
		...found.filter((id, at) => found.indexOf(id) !== at).map((id) => `${id} is listed twice as a failure`),
	];
}

/** One key, one alarm; and no key stands for an alarm that never came to be anything. */
function keyFaults({ months, keys }: Held): string[] {
	const slots = new Set(months.map(({ _id }) => showId(_id)));
	const keyed = months.filter(({ idempotencyKey }) => idempotencyKey !== undefined);
	const byKey = Map.groupBy(keyed, (row) => JSON.stringify([row.producer, row.userId, row.idempotencyKey]));
	return [
		...[...byKey].filter(([, rows]) => rows.length > 1).map(([key, rows]) => `${key} made ${rows.length} alarms`),
		...keys
			.filter(({ alarm }) => !slots.has(showId(alarm)))
			.map(({ alarm }) => `${showId(alarm)} has a key and no slot`),
	];
}

function idsGivenTwice(sent: Sent[]): string[] {
	const seen = new Set<string>();
	const twice = okIds(sent).filter((id) => seen.size === seen.add(id).size);
	return twice.map((id) => `${id} was given to two alarms`);
}

/** `some` are all sendings of one alarm. */
function faultsOf(some: Sent[], rows: Stored[], duplicates: Map<string, string>): string[] {
	const [first] = some;
	if (first === undefined) return [];
	const say = (what: string) =>
		`${first.alarm.data.mark}, told ${JSON.stringify(some.map(({ told }) => told))}, ${what}`;
	const faults: string[] = [];
	const mustBeThere = some.some(({ told, ends }) => told.is === "ok" && ends === undefined);
	if (rows.length > 1) faults.push(say(`is stored ${rows.length} times`));
	if (mustBeThere && rows.length === 0) faults.push(say("is lost"));
	if (some.every(({ told, ends }) => told.is === "refused" || ends !== undefined) && rows.length > 0) {
		faults.push(say("is stored"));
	}
	for (const row of rows) faults.push(...some.flatMap((one) => differences(one, row, duplicates)).map(say));
	return faults;
}

function differences({ alarm, told }: Sent, { id, content }: Stored, duplicates: Map<string, string>): string[] {
	const faults: string[] = [];
	// A doubtful sending that was repeated with its key may itself have come to nothing.
	const mayBeNothing = told.is === "unknown" && alarm.idempotencyKey !== undefined;
	if (!mayBeNothing && isElsewhere(told, id, duplicates)) faults.push(`is stored as ${id}`);
	const [was, is] = [canonical(contentOf(alarm)), canonical(content)];
	if (was !== is) faults.push(`was sent as ${was} and is stored as ${is}`);
	return faults;
}

/** An id that was told must be the alarm's own, or a duplicate of it. */
function isElsewhere(told: Told, id: string, duplicates: Map<string, string>): boolean {
	return "id" in told && told.id !== id && duplicates.get(told.id) !== id;
}

const CONTENT = ["userId", "category", "title", "body", "link", "data", "occurredAt", "sendAt", "expiresAt"] as const;

/** Moments compare as moments, whatever way each side writes them. */
function contentOf(from: Document): Record<string, unknown> {
	const present = CONTENT.filter((field) => from[field] !== undefined);
	return Object.fromEntries(
		present.map((field) => [field, field.endsWith("At") ? +new Date(from[field]) : from[field]]),
	);
}

function toStored(row: Document): Stored {
	return { id: showId(row._id), mark: row.data?.mark, content: contentOf(row) };
}

/** The order of fields says nothing. */
function canonical(value: unknown): string {
	return JSON.stringify(value, (_key, inner) => (isPlain(inner) ? Object.fromEntries(sortedEntries(inner)) : inner));
}

function isPlain(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

function sortedEntries(value: Record<string, unknown>): [string, unknown][] {
	return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}
