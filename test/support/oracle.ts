import type { Document } from "mongodb";
import type { NewAlarm } from "../../contracts/alarm.ts";
import type { Reply, Rest } from "./rest.ts";

/**
 * Holds what producers were told against what the databases hold, and shares no code with the service in doing so:
 * ok is stored exactly once and unchanged, refused is not stored, unknown is stored at most once. Every alarm carries a mark of
 * its own in `data.mark`, by which its rows are found also when the producer never learned an id.
 */

export type Told =
	| { is: "ok"; id: string }
	/** Answered before any write, or never connected. */
	| { is: "refused"; why: string }
	/** It may have been accepted; the id is there when the service has said which. */
	| { is: "unknown"; why: string; id?: string };

export type Marked = NewAlarm & { data: { mark: string } };
export interface Sent {
	alarm: Marked;
	told: Told;
}

/** Posts one alarm, once. */
export async function send(producer: Rest, alarm: Marked): Promise<Sent> {
	try {
		return { alarm, told: classify(await producer("POST", "/v1/alarms", alarm)) };
	} catch (error) {
		return { alarm, told: classifySilence(error) };
	}
}

/** What an answer to a single creation means to its producer. */
export function classify({ status, body }: Pick<Reply, "status" | "body">): Told {
	if (status === 202 && typeof body?.id === "string") return { is: "ok", id: body.id };
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

/** Every promise that the rows of all months break, one sentence each. `sent` is all that was ever sent to this system. */
export function brokenPromises(sent: Sent[], months: Document[]): string[] {
	const rows = months.map(toStored);
	const byMark = Map.groupBy(rows, ({ mark }) => mark);
	const known = new Set(sent.map(({ alarm }) => alarm.data.mark));
	const strange = rows.filter(({ mark }) => mark === undefined || !known.has(mark));
	return [
		...strange.map(({ id, content }) => `${id} is in the databases and was never sent: ${JSON.stringify(content)}`),
		...idsGivenTwice(sent),
		...sent.flatMap((one) => faultsOf(one, byMark.get(one.alarm.data.mark) ?? [])),
	];
}

interface Stored {
	id: string;
	mark: string | undefined;
	content: Record<string, unknown>;
}

function idsGivenTwice(sent: Sent[]): string[] {
	const seen = new Set<string>();
	const twice = okIds(sent).filter((id) => seen.size === seen.add(id).size);
	return twice.map((id) => `${id} was given to two alarms`);
}

function faultsOf({ alarm, told }: Sent, rows: Stored[]): string[] {
	const say = (what: string) => `${alarm.data.mark}, told ${JSON.stringify(told)}, ${what}`;
	const faults: string[] = [];
	if (rows.length > 1) faults.push(say(`is stored ${rows.length} times`));
	if (told.is === "ok" && rows.length === 0) faults.push(say("is lost"));
	if (told.is === "refused" && rows.length > 0) faults.push(say("is stored"));
	for (const row of rows) faults.push(...differences(alarm, told, row).map(say));
	return faults;
}

function differences(alarm: Marked, told: Told, { id, content }: Stored): string[] {
	const faults: string[] = [];
	if ("id" in told && told.id !== id) faults.push(`is stored as ${id}`);
	const [was, is] = [canonical(contentOf(alarm)), canonical(content)];
	if (was !== is) faults.push(`was sent as ${was} and is stored as ${is}`);
	return faults;
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
	return { id: Buffer.from(row._id).toString("base64url"), mark: row.data?.mark, content: contentOf(row) };
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
