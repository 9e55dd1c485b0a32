import { setTimeout as sleep } from "node:timers/promises";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { addMonths, type Month, monthEndMs, monthOf, monthStartMs } from "../../domain/time/periods.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import type { LoadResult } from "../load/closed.ts";
import type { OpenResult } from "../load/open.ts";
import { arrivals, putAll, putInto, targetIn } from "../months.ts";
import type { MoverQuestion } from "../mover.ts";
import type { PagesQuestion, PagesResult } from "../pages.ts";
import { customersOf, SAMPLE_SIZE, storedRow, userName, variedAlarm } from "../sample.ts";
import { keepRequests, loadOnce, type Stage } from "../stage.ts";
import { inboxRows, storeRows } from "../stored.ts";
import { requestsFor } from "./reading.ts";

/** Thirteen months: this one, three more in the service tier (days 0 to 90), nine in the archive. */
const MONTHS = 13;
const SERVICE_MONTHS = 4;
const NEWEST_EACH = 60;
const OLDER_EACH = 5;
/** Customers that have fewer in a month than a page holds. */
const SELDOM = 1_000;
const SELDOM_EACH = 3;
const READERS = 2_000;
const PAGES_MS = 2_000;
/** As ARCHIVE_ROWS_PER_SECOND is, unless somebody sets it. */
const ROWS_PER_S = 5_000;
const SAVED_MS = 1_500;
const OPEN = { perS: 300, lines: 16, warmMs: 300, durationMs: 3_000 };
const CONNECTIONS = 32;

interface ArchiveReadsSize {
	customers: number;
	/** Alarms in the month of each shard that is moved while others read. */
	moved: number;
}

/** What reading feels of a year behind it, and of the mover. */
export async function archiveReads(stage: Stage, size: ArchiveReadsSize): Promise<Figure[]> {
	const clusters = new Clusters(stage.lab.config);
	try {
		const mover = await stage.lab.start("mover", { args: [JSON.stringify(stage.lab.env)] });
		const { usual, seldom } = await fillYear(stage, clusters, mover, size);
		return [...(await firstPages(stage, usual, seldom)), ...(await besideMover(stage, mover, usual))];
	} finally {
		await clusters.close();
	}
}

/** Thirteen months for everybody; those that are old enough are archived. The oldest of the service tier has many more, for the mover. */
async function fillYear(stage: Stage, clusters: Clusters, mover: Child, { customers, moved }: ArchiveReadsSize) {
	const { lab } = stage;
	const months = Array.from({ length: MONTHS }, (_, back) => addMonths(monthOf(Date.now()), -back));
	const { map } = lab;
	const usual = Array.from({ length: customers }, (_, at) => userName(at));
	const seldom = Array.from({ length: SELDOM }, (_, at) => `seldom-${at}`);
	stage.say(`archive-reads · filling ${MONTHS} months of ${customers + SELDOM} customers`);
	await storeRows(
		lab,
		inboxRows(usual, NEWEST_EACH, () => false),
	);
	await storeRows(
		lab,
		inboxRows(seldom, SELDOM_EACH, () => false),
	);
	for (const month of months.slice(1)) {
		await putAll(clusters, map, month, rowsIn(month, usual, OLDER_EACH));
		await putAll(clusters, map, month, rowsIn(month, seldom, SELDOM_EACH));
	}
	await fillForMover(clusters, map, months[SERVICE_MONTHS - 1] ?? "", moved);
	stage.say(`archive-reads · archiving ${MONTHS - SERVICE_MONTHS} months`);
	for (const month of months.slice(SERVICE_MONTHS)) await archiveAll(mover, map, month);
	return { usual: usual.slice(0, READERS), seldom };
}

function rowsIn(month: Month, userIds: string[], each: number): AlarmRow[] {
	const stepMs = (monthEndMs(month) - monthStartMs(month)) / each;
	return userIds.flatMap((userId, owner) =>
		Array.from({ length: each }, (_, at) => {
			const timeMs = Math.floor(monthStartMs(month) + (at + owner / userIds.length) * stepMs);
			return storedRow(variedAlarm((owner + at * 31) % SAMPLE_SIZE, userId, timeMs), timeMs);
		}),
	);
}

async function fillForMover(clusters: Clusters, map: RoutingMap, month: Month, moved: number): Promise<void> {
	for (const [shard] of map.shards.entries()) {
		const customers = customersOf(shard, map.shards.length, Math.ceil(moved / 30), "m");
		await putInto(clusters, targetIn(map, shard, month), arrivals(month, customers, moved));
	}
}

async function archiveAll(mover: Child, map: RoutingMap, month: Month, rowsPerSecond?: number): Promise<void> {
	for (const [shard] of map.shards.entries()) {
		const question: MoverQuestion = { kind: "archive", shard, month, ...(rowsPerSecond && { rowsPerSecond }) };
		await mover.ask(question);
	}
}

interface Asked {
	name: string;
	question: Omit<PagesQuestion, "durationMs">;
	results: PagesResult[];
}

/** Page 1 by the store's own function, which is stricter than over HTTP: nothing beside it makes the difference look smaller. */
async function firstPages(stage: Stage, usual: string[], seldom: string[]): Promise<Figure[]> {
	const pages = await stage.lab.start("pages", { args: [JSON.stringify(stage.lab.env)] });
	const newest: Asked = { name: "one month", question: { userIds: usual, months: "newest" }, results: [] };
	const year: Asked = { name: "13 months", question: { userIds: usual, months: "all" }, results: [] };
	const few: Asked = { name: "13 months, 3 alarms each", question: { userIds: seldom, months: "all" }, results: [] };
	for (let round = 0; round <= stage.rounds; round++) {
		for (const { name, question, results } of [newest, year, few]) {
			const one = await pages.ask<PagesResult>({ ...question, durationMs: PAGES_MS });
			if (round > 0) results.push(one);
			stage.say(`archive-reads · page 1, ${name}: p50 ${one.p50Ms.toFixed(2)} ms, p99 ${one.p99Ms.toFixed(2)} ms`);
		}
	}
	await pages.stop();
	const pick = { p50: (one: PagesResult) => one.p50Ms, p99: (one: PagesResult) => one.p99Ms };
	return (["p50", "p99"] as const).flatMap((part) => [
		pageFigure(`page 1 with 13 months, ${part}`, year, newest, pick[part], 0.833),
		pageFigure(`page 1 over several months, ${part}`, few, newest, pick[part], null),
	]);
}

function pageFigure(
	name: string,
	ours: Asked,
	theirs: Asked,
	pick: (one: PagesResult) => number,
	reach: number | null,
): Figure {
	const samples = ours.results.map(pick);
	const beside = theirs.results.map(pick);
	return {
		key: name.replaceAll(/\W+/g, "-"),
		name,
		unit: " ms",
		lessIsBetter: true,
		samples,
		baselines: [{ name: "with one month", samples: beside, band: null, reach }],
		notes: [
			`${ours.results[0]?.rows.toFixed(0)} alarms on a page; times that of one month: ${timesText(samples, beside)}`,
		],
	};
}

interface Windows {
	open: OpenResult[];
	closed: LoadResult[];
}

/** Pages by the query edge, with the mover standing still and at work, turn about. */
async function besideMover(stage: Stage, mover: Child, usual: string[]): Promise<Figure[]> {
	const query = await stage.lab.startRole("query");
	const requests = await keepRequests(stage, "pages", await requestsFor(stage, usual, ""));
	const quiet: Windows = { open: [], closed: [] };
	const moving: Windows = { open: [], closed: [] };
	await loadOnce(stage, query, { connections: CONNECTIONS, requests, expect: 200 });
	await mover.ask({ kind: "hold" } satisfies MoverQuestion);
	const work = moveUntilStopped(stage, mover);
	const rates: number[] = [];
	for (let round = 1; round <= stage.rounds; round++) {
		await readOnce(stage, query, requests, quiet);
		rates.push(await whileMoving(mover, () => readOnce(stage, query, requests, moving)));
		stage.say(
			`archive-reads · round ${round}/${stage.rounds}: p99 quiet ${quiet.open.at(-1)?.p99Ms.toFixed(1)} ms, moving ${rates.at(-1)} rows/s ${moving.open.at(-1)?.p99Ms.toFixed(1)} ms`,
		);
	}
	await work.stop();
	await query.stop();
	const pace = `the mover read ${rates.join(", ")} rows/s`;
	return [
		besideFigure("", ({ open }) => open, quiet, moving, `${OPEN.perS} pages/s, open loop; ${pace}`),
		besideFigure(", saturated", ({ closed }) => closed, quiet, moving, `${CONNECTIONS} connections, closed loop`),
	];
}

/** Tells how many rows per second the mover read meanwhile. */
async function whileMoving(mover: Child, read: () => Promise<void>): Promise<number> {
	await mover.ask({ kind: "go" } satisfies MoverQuestion);
	// The rows of the second that it has saved up while it stood still.
	await sleep(SAVED_MS);
	const before = await rowsGone(mover);
	const startMs = performance.now();
	await read();
	const rows = (await rowsGone(mover)) - before;
	await mover.ask({ kind: "hold" } satisfies MoverQuestion);
	return Math.round((rows * 1_000) / (performance.now() - startMs));
}

function besideFigure(
	how: string,
	of: (windows: Windows) => { p99Ms: number }[],
	quiet: Windows,
	moving: Windows,
	note: string,
): Figure {
	const [samples, beside] = [of(moving), of(quiet)].map((some) => some.map(({ p99Ms }) => p99Ms)) as [
		number[],
		number[],
	];
	const name = `page p99 beside the mover${how}`;
	return {
		key: name.replaceAll(/\W+/g, "-"),
		name,
		unit: " ms",
		lessIsBetter: true,
		samples,
		baselines: [{ name: "without the mover", samples: beside, band: null, reach: 0.667 }],
		notes: [`${note}; times that without: ${timesText(samples, beside)}`],
	};
}

async function readOnce(stage: Stage, query: Child, requests: string, into: Windows): Promise<void> {
	into.open.push(await stage.load.ask<OpenResult>({ kind: "open", port: query.port, requests, ...OPEN }));
	into.closed.push(await loadOnce(stage, query, { connections: CONNECTIONS, requests, expect: 200 }));
}

/** The oldest service month, shard after shard, at the pace that the mover has by default. */
function moveUntilStopped(stage: Stage, mover: Child) {
	const month = addMonths(monthOf(Date.now()), 1 - SERVICE_MONTHS);
	let isOver = false;
	let hasEnded = false;
	const work = async () => {
		for (let shard = 0; shard < stage.lab.config.logicalShards && !isOver; shard++)
			await mover.ask({ kind: "archive", shard, month, rowsPerSecond: ROWS_PER_S } satisfies MoverQuestion);
	};
	const ended = work().finally(() => {
		hasEnded = true;
	});
	// Heard at the stop; the end of the whole run may come before.
	ended.catch(() => undefined);
	return {
		async stop() {
			if (hasEnded) await ended.then(() => Promise.reject(new Error("the mover had nothing left to move")));
			isOver = true;
			await mover.stop();
			// It was ended in the middle of a month.
			await ended.catch(() => undefined);
		},
	};
}

function rowsGone(mover: Child): Promise<number> {
	return mover.ask<number>({ kind: "rows" } satisfies MoverQuestion);
}

function timesText(ours: number[], theirs: number[]): string {
	return ours.map((one, at) => (one / (theirs[at] ?? Number.NaN)).toFixed(2)).join(", ");
}
