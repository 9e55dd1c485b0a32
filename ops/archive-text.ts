import type { ArchivePlan, ArchiveState, KeptMonth, MonthState, Run, RunAnswer } from "../contracts/archive.ts";
import { TIERS } from "../contracts/routing.ts";
import { aligned, bar, durationText, sizeText } from "./table.ts";

/** The archive as an operator reads it on a console. */

const WIDTH = 24;
const SHOWN = 10;

/** `before` is the state a moment earlier: what has changed since tells how fast a run is. */
export function stateText(state: ArchiveState, before: ArchiveState | null = null): string {
	return [
		...monthTable(state.months),
		"",
		...openLines(state, before),
		...endedLines(state.ended ?? []),
		...lookLines(state),
		...(state.unavailable.length === 0 ? [] : [`DOES NOT ANSWER: ${state.unavailable.join(", ")}`]),
	].join("\n");
}

function monthTable(months: MonthState[]): string[] {
	const most = Math.max(...months.map(({ bytes }) => bytes ?? 0), 1);
	const rows = months.map(({ month, shards, rows, bytes }) => [
		month,
		TIERS.filter((tier) => shards[tier] > 0)
			.map((tier) => `${shards[tier]} ${tier}`)
			.join(", "),
		rows === null ? "?" : rows.toLocaleString("en"),
		bytes === null ? "?" : sizeText(bytes),
		bytes === null ? "" : bar(bytes / most, WIDTH),
	]);
	return aligned([["month", "shards by tier", "rows", "on disk", ""], ...rows]);
}

function openLines({ open, at }: ArchiveState, before: ArchiveState | null): string[] {
	if (open === null) return ["The record of runs does not answer."];
	const running = open.filter(({ state }) => state === "running");
	const others = open.filter(({ state }) => state !== "running");
	const earlier = (run: Run) => before?.open?.find(({ id }) => id === run.id);
	return [
		...running.map((run) => (run.kind === "erase" ? erasingLine(run) : runningLine(run, earlier(run)))),
		...others.slice(0, SHOWN).map((run) => otherLine(run, at)),
		...(others.length > SHOWN ? [`… and ${others.length - SHOWN} more (call archive.mover.runs)`] : []),
	];
}

function runningLine(run: Run, before: Run | undefined): string {
	const { id, rows, step, node } = run;
	const done = goneThrough(run);
	const part = rows.total === 0 ? 0 : done / rows.total;
	const perSecond = before?.step === step ? speedOf(run, before) : 0;
	const left = perSecond > 0 ? `, ${durationText(((rows.total - done) / perSecond) * 1_000)} left` : "";
	const speed = perSecond > 0 ? `  ${Math.round(perSecond).toLocaleString("en")} rows/s${left}` : "";
	const count = `${done.toLocaleString("en")} of ${rows.total.toLocaleString("en")}`;
	return `${id} [${bar(part, WIDTH)}] ${count}${speed}  (${doing(step)}, on ${node})`;
}

/** Rows of the sweep under way: first of the copy, then of the comparison. */
function goneThrough({ step, rows }: Run): number {
	return step === "caught up" ? (rows.verified ?? 0) : rows.done;
}

function speedOf(run: Run, before: Run): number {
	const spentMs = Date.parse(run.updatedAt) - Date.parse(before.updatedAt);
	return spentMs > 0 ? ((goneThrough(run) - goneThrough(before)) / spentMs) * 1_000 : 0;
}

function erasingLine({ id, removed, step, node }: Run): string {
	return `${id} ${removedText(removed)}  (${doing(step)}, on ${node})`;
}

function removedText(removed: Run["removed"]): string {
	const counts = Object.entries(removed ?? {}).map(([kind, count]) => `${count.toLocaleString("en")} ${kind}`);
	return `removed ${counts.join(", ") || "nothing"}`;
}

/** What follows the steps that take long. */
const LONG_STEPS: Record<string, string> = { taken: "copying", copied: "catching up", "caught up": "verifying" };

function doing(step: string | null): string {
	return LONG_STEPS[step ?? ""] ?? `after "${step}"`;
}

function otherLine({ id, state, reason, waitingSince }: Run, at: string): string {
	const since = waitingSince === undefined ? "" : ` for ${durationText(Date.parse(at) - Date.parse(waitingSince))}`;
	return `${id} ${state}${since}${reason === null ? "" : `: ${reason.code}, ${reason.message}`}`;
}

function endedLines(ended: Run[]): string[] {
	const refused = ended.filter(({ state }) => state === "refused");
	const [last] = ended.filter(({ state }) => state === "done");
	return [
		...refused.map(({ id, reason }) => `REFUSED ${id}: ${reason?.code}, ${reason?.message}`),
		...(last === undefined ? [] : [`last done: ${last.id}, ${last.endedAt}${doneText(last)}`]),
	];
}

function doneText({ kind, removed }: Run): string {
	return kind === "erase" ? `, ${removedText(removed)}` : "";
}

function lookLines({ node, lastLook, nextLook }: ArchiveState): string[] {
	const next = nextLook === null ? "looks only when it is asked" : `looks next at ${nextLook}`;
	if (lastLook === null) return [`${node} ${next}`];
	const refused = lastLook.refused === null ? [] : [`${lastLook.refused.code}: ${lastLook.refused.message}`];
	const found = [...refused, ...keptLines(lastLook.kept)];
	// Below the moment of the look: what has changed since is not in it.
	return [`${node} ${next}; it looked at ${lastLook.at}${found.length > 0 ? ", and found:" : ""}`, ...found];
}

export function planText({ due, kept, refused, newestStored, lowWatermark, at }: ArchivePlan): string {
	const months = Map.groupBy(due, ({ kind, month }) => `${kind} ${month}`);
	const lines = [...months].map(([what, some]) => `${what}: ${shardsText(some.map(({ shard }) => shard))}`);
	return [
		...(refused === null ? [] : [`${refused.code}: ${refused.message}`]),
		...(lines.length === 0 && refused === null ? ["Nothing is due."] : lines),
		...keptLines(kept),
		`now ${at}; newest stored alarm (of a sample) ${newestStored ?? "none"}; low-watermark ${lowWatermark ?? "unknown"}`,
	].join("\n");
}

function keptLines(kept: KeptMonth[]): string[] {
	return kept.map(
		({ month, shards, reason }) => `kept ${month}, ${shardsText(shards)}: ${reason.code}, ${reason.message}`,
	);
}

function shardsText(shards: number[]): string {
	return shards.length === 1 ? `shard ${shards[0]}` : `${shards.length} shards (${rangesText(shards)})`;
}

/** `0-3, 7`: there may be 256 of them. */
function rangesText(shards: number[]): string {
	const ranges: { first: number; last: number }[] = [];
	for (const shard of shards) {
		const range = ranges.at(-1);
		if (range !== undefined && shard === range.last + 1) range.last = shard;
		else ranges.push({ first: shard, last: shard });
	}
	return ranges.map(({ first, last }) => (first === last ? first : `${first}-${last}`)).join(", ");
}

export function answerText({ begun, skipped, plan }: RunAnswer): string {
	const lines = begun.slice(0, SHOWN).map(({ id, state }) => `${id} ${state}`);
	return [
		`${runsAre(begun.length)} planned or under way.`,
		...lines,
		...(begun.length > SHOWN ? [`… and ${begun.length - SHOWN} more`] : []),
		...skipped.map(
			(run) => `skipped: ${otherLine(run, plan.at)}${run.state === "refused" ? " (--fresh takes it up again)" : ""}`,
		),
		...(begun.length === 0 ? [planText(plan)] : keptLines(plan.kept)),
	].join("\n");
}

export function stoppedText(runs: Run[]): string {
	if (runs.length === 0) return "There was nothing to stop.";
	const erases = runs.some(({ kind }) => kind === "erase") ? ", an erase until `archive erase` of that customer" : "";
	return `${runsAre(runs.length)} stopped until \`archive run\`${erases}: ${runs.map(({ id }) => id).join(", ")}`;
}

function runsAre(count: number): string {
	return count === 1 ? "1 run is" : `${count} runs are`;
}

export function erasedText({ id, state, shard }: Run): string {
	return `${id} ${state}, shard ${shard}. It takes half a minute at least; \`call archive.mover.find --id ${id}\` tells what it has removed.`;
}
