import type { AuditReport, Counted } from "../../contracts/audit.ts";

/** The report in plain sentences. Of each list the first few are shown; `--json` has up to a hundred. */

const SHOWN = 10;

/** What was looked at, and everything that is not as it should be. */
export function toText(report: AuditReport): string {
	return ["", ...summaryOf(report), ...openOf(report), ...findingsOf(report), ""].join("\n");
}

/** One line: all is right, or what is not. */
export function toVerdict({ ids, batches, wrong, unknown, pending, unjudged }: AuditReport, exitCode: number): string {
	if (exitCode === 0)
		return `All right: ${ids} ids of ${batches} batches, each in exactly one slot; no promised batch is missing.`;
	if (exitCode === 1) return `Not right: ${wrong.join(", ")}.`;
	const open = [...unknown];
	if (pending.batches + pending.ids > 0)
		open.push(`${pending.batches} batches and ${pending.ids} ids may be on their way`);
	if (unjudged.batches + unjudged.ids > 0)
		open.push(`${unjudged.batches} batches and ${unjudged.ids} ids are not judged`);
	return `Not known: ${open.join(", ")}. Nothing wrong was found otherwise.`;
}

function summaryOf({ from, to, batches, ids, erased, slots, lowWatermark }: AuditReport): string[] {
	const ends = Object.entries(slots).filter(([, count]) => count > 0);
	const days = from === to ? from : `${from} to ${to}`;
	return [
		`Ledger of ${days}: ${batches} batches with ${ids} ids.`,
		`Their slots: ${ends.map(([outcome, count]) => `${count} ${outcome}`).join(", ") || "none"}.`,
		...(erased === 0 ? [] : [`Erased with their customers: ${erased} ids more.`]),
		lowWatermark === null
			? "No worker has ever said up to when everything has arrived."
			: `Everything accepted before ${lowWatermark} must have arrived.`,
	];
}

function openOf({ pending, unjudged, unaccounted, unknown }: AuditReport): string[] {
	const lines = unknown.map((what) => `Not known: ${what}.`);
	if (pending.batches + pending.ids > 0)
		lines.push(
			`May be on their way: ${pending.batches} batches, ${pending.ids} ids. Does a worker run? Ask again later.`,
		);
	if (unjudged.batches + unjudged.ids > 0) lines.push(`Not judged: ${unjudged.batches} batches, ${unjudged.ids} ids.`);
	if (unaccounted.count > 0)
		lines.push(
			`Of ${unaccounted.count} batches nobody knows whether they were promised: their process died before it could say.`,
			...listOf(unaccounted, runText),
		);
	return lines;
}

function findingsOf({ lostBatches, missing, doubled, misplaced, doubledBatches }: AuditReport): string[] {
	return [
		...section("LOST: promised batches that were never stored", lostBatches, runText),
		...section("MISSING: ids without a slot", missing, (id) => id),
		...section("DOUBLED: ids with more than one slot", doubled, ({ id, places }) => `${id} in ${places.join(" and ")}`),
		...section("MISPLACED: slots where no reader looks", misplaced, ({ id, place }) => `${id} in ${place}`),
		...section("DOUBLED: ids in two batches", doubledBatches, ({ id, batches }) => `${id} in ${batches.join(" and ")}`),
	];
}

function runText({ epoch, numbers: [from, to] }: { epoch: string; numbers: [number, number] }): string {
	return from === to ? `batch ${from} of process ${epoch}` : `batches ${from} to ${to} of process ${epoch}`;
}

function section<T>(title: string, list: Counted<T>, text: (one: T) => string): string[] {
	return list.count === 0 ? [] : [`${title}: ${list.count}`, ...listOf(list, text)];
}

function listOf<T>({ kept }: Counted<T>, text: (one: T) => string): string[] {
	const lines = kept.slice(0, SHOWN).map((one) => `  ${text(one)}`);
	return kept.length > SHOWN ? [...lines, "  … (--json lists more)"] : lines;
}
