import type { Baseline, Figure } from "../figure.ts";
import type { Request } from "../load/line.ts";
import { placesOf } from "../places.ts";
import { userName } from "../sample.ts";
import { interleaved, keepRequests, type Stage } from "../stage.ts";
import { inboxRows, storeRows, tokensOf } from "../stored.ts";
import { cpuNote, ratesOf } from "./creation.ts";

const CONNECTIONS = 32;
const LONG_INBOX = 5_000;
const LONG_INBOXES = 8;

/**
 * Customers that read at the same time. A checked token is remembered for 10 s, so this also says how often one is checked:
 * about once in ten requests.
 */
const READERS = 2_000;

const NO_BANDS = { find: null, command: null };
const PAGE_BANDS: Comparison["bands"] = { find: [3_600, 3_900], command: [5_400, 5_400] };

interface Inboxes {
	usual: string[];
	/** 5,000 alarms, each read by itself. */
	readSingly: string[];
	/** 5,000 alarms, read by read-all. */
	readAtOnce: string[];
}

/** (d) Inbox pages and (e) unread counts per second, against a bare server doing the same find. */
export async function reading(stage: Stage, customers: number, alarmsEach: number): Promise<Figure[]> {
	const { lab } = stage;
	const inboxes = await fillInboxes(stage, customers, alarmsEach);
	const args = [JSON.stringify(placesOf(lab))];
	const find = await lab.start("raw/read", { args: [...args, "find"] });
	const command = await lab.start("raw/read", { args: [...args, "command"] });
	const ours = await lab.startRole("query");
	const servers = { find, command, ours };
	await readAll(ours.port, await requestsFor(stage, inboxes.readAtOnce, "/read-all", "POST"));
	const readers = inboxes.usual.slice(0, READERS);
	const { readSingly, readAtOnce } = inboxes;
	const count = { suffix: "/unread-count", bands: NO_BANDS, reach: null };
	const figures: Figure[] = [];
	for (const one of [
		{ key: "pages", name: "inbox pages of 20", own: readers, raw: readers, suffix: "", bands: PAGE_BANDS, reach: 0.9 },
		{ ...count, key: "unread", name: "unread count, some unread", own: readers, raw: readers },
		{
			...count,
			key: "unread-singly",
			name: "unread count, 0 behind 5,000 read one by one",
			own: readSingly,
			raw: readSingly,
		},
		{
			...count,
			key: "unread-at-once",
			name: "unread count, 0 behind 5,000 by read-all",
			own: readAtOnce,
			raw: readSingly,
		},
	])
		figures.push(await compare(stage, servers, one));
	for (const child of Object.values(servers)) await child.stop();
	return figures;
}

type Servers = Record<"find" | "command" | "ours", Awaited<ReturnType<Stage["lab"]["start"]>>>;

interface Comparison {
	key: string;
	name: string;
	/** Customers asked of ours and of the bare servers, which know no watermark: for them the same answer takes single marks. */
	own: string[];
	raw: string[];
	suffix: string;
	bands: Record<"find" | "command", Baseline["band"]>;
	reach: number | null;
}

async function compare(stage: Stage, { find, command, ours }: Servers, one: Comparison): Promise<Figure> {
	const { key, name, suffix, bands, reach } = one;
	const own = await keepRequests(stage, `${key}-ours`, await requestsFor(stage, one.own, suffix));
	const raw = await keepRequests(stage, `${key}-raw`, await requestsFor(stage, one.raw, suffix));
	const aim = { connections: CONNECTIONS, expect: 200 };
	const [byFind = [], byCommand = [], byOurs = []] = await interleaved(stage, name, [
		{ child: { ...find, name: "find" }, aim: { ...aim, requests: raw } },
		{ child: { ...command, name: "command" }, aim: { ...aim, requests: raw } },
		{ child: { ...ours, name: "ours" }, aim: { ...aim, requests: own } },
	]);
	return {
		key,
		name,
		unit: "/s",
		samples: ratesOf(byOurs),
		baselines: [
			{ name: "bare server, find().toArray()", samples: ratesOf(byFind), band: bands.find, reach },
			{ name: "bare server, one-batch command", samples: ratesOf(byCommand), band: bands.command, reach: null },
		],
		notes: [cpuNote("ours", byOurs), cpuNote("bare find", byFind), cpuNote("bare command", byCommand)],
	};
}

async function fillInboxes(stage: Stage, customers: number, alarmsEach: number): Promise<Inboxes> {
	const usual = Array.from({ length: customers }, (_, at) => userName(at));
	const readSingly = Array.from({ length: LONG_INBOXES }, (_, at) => `reader-${at}`);
	const readAtOnce = Array.from({ length: LONG_INBOXES }, (_, at) => `skimmer-${at}`);
	stage.say(`putting ${customers * alarmsEach} alarms into ${customers} inboxes`);
	// The newest third is unread.
	await storeRows(
		stage.lab,
		inboxRows(usual, alarmsEach, (at) => at < (alarmsEach * 2) / 3),
	);
	await storeRows(
		stage.lab,
		inboxRows(readSingly, LONG_INBOX, () => true),
	);
	await storeRows(
		stage.lab,
		inboxRows(readAtOnce, LONG_INBOX, () => false),
	);
	return { usual, readSingly, readAtOnce };
}

/** First pages of so many filled inboxes. */
export async function pageRequests(stage: Stage, customers: number): Promise<Request[]> {
	const { usual } = await fillInboxes(stage, customers, 60);
	return requestsFor(stage, usual.slice(0, READERS), "");
}

/** One request for each customer, with a token of the customer's own. */
export async function requestsFor(
	{ lab }: Stage,
	userIds: string[],
	suffix: string,
	method: Request["method"] = "GET",
): Promise<Request[]> {
	const tokens = await tokensOf(lab, userIds);
	return userIds.map((userId, at) => ({
		method,
		path: `/v1/users/${userId}/alarms${suffix}`,
		auth: tokens[at] ?? "",
		...(method === "POST" && { body: {} }),
	}));
}

async function readAll(port: number, requests: Request[]): Promise<void> {
	for (const { path, auth, body } of requests) {
		const headers = { authorization: `Bearer ${auth}`, "content-type": "application/json" };
		const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
			method: "POST",
			headers,
			body: JSON.stringify(body),
		});
		if (!reply.ok) throw new Error(`read-all answered ${reply.status} ${await reply.text()}`);
	}
}
