import type { RoutingMap } from "../../contracts/routing.ts";
import { idTimeMs } from "../../domain/alarms/ids.ts";
import { alarmsOf } from "../../domain/routing/collection-catalog.ts";
import { type MapChange, withChange } from "../../domain/routing/routing.ts";
import { addMonths, type Month, monthOf, monthStartMs } from "../../domain/time/periods.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { ensureCollections, MAP_ID } from "../../stores/routing/provision.ts";
import { replaceDocument } from "../../stores/routing/versioned-documents.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNow, realNowMs } from "../support/now.ts";
import { brokenPromises, type Marked, type Sent, send } from "../support/oracle.ts";
import { lineOf, plant } from "../support/plant.ts";
import { TestQueue } from "../support/queue.ts";
import { restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Months are there when alarms need them, whoever was away when they had to be made. */

const SHARDS = 4;
const NOW_MS = realNowMs();
const CURRENT = monthOf(NOW_MS);
const DAY_MS = 86_400_000;

let system: TestSystem;
let shards: TestShards;
let clusters: Clusters;
let queue: TestQueue;

beforeEach(async () => {
	const since = new Date(monthStartMs(addMonths(CURRENT, -6)));
	system = await startSystem({ LOGICAL_SHARDS: String(SHARDS) }, { since });
	shards = new TestShards(system.servers);
	clusters = new Clusters(system.config);
	queue = await TestQueue.open(system.servers.nats.url);
});
afterEach(async () => {
	await queue?.close();
	await clusters?.close();
	await shards?.close();
	await system?.stop();
});

/** As if nobody had ever made them, on every shard. */
async function unmake(months: Month[]): Promise<void> {
	const map = await shards.map();
	const gone: MapChange["shards"] = [];
	for (const shard of map.shards.keys()) {
		for (const name of months.map(alarmsOf)) {
			const { cluster } = map.shards[shard] as RoutingMap["shards"][number];
			await shards.cluster(cluster).db(`alarm_s0${shard}`).dropCollection(name);
			gone.push({ shard, name, uuid: null });
		}
	}
	const next = withChange(map, { shards: gone, clusters: [] }, realNow());
	if (!(await replaceDocument(clusters, MAP_ID, next))) throw new Error("somebody else changes the map");
}

const monthsIn = ({ collections }: RoutingMap["shards"][number]) =>
	Object.keys(collections)
		.filter((name) => name.startsWith("alarms_"))
		.sort();
const monthsFrom = (first: number) =>
	Array.from({ length: 3 - first }, (_, at) => alarmsOf(addMonths(CURRENT, first + at)));

async function expectMonths(first: number): Promise<void> {
	for (const place of (await shards.map()).shards) expect(monthsIn(place)).toEqual(monthsFrom(first));
}

test("a set-up after half a year makes every month that was missed, on every shard, and the router none that is older", async () => {
	await expectMonths(-6);
	for (const days of [-365, -200, 0]) {
		const { errors } = await ensureCollections(clusters, await shards.map(), new Date(NOW_MS + days * DAY_MS));
		expect(errors).toEqual([]);
	}
	await expectMonths(-6);
});

test("alarms that were accepted in months that nobody made wait for the router, and are stored in those months", async () => {
	await unmake([-3, -2, -1, 0, 1, 2].map((at) => addMonths(CURRENT, at)));
	const times = [-3, -2, -1, 0].flatMap((at) => [0, 1].map((ms) => monthStartMs(addMonths(CURRENT, at)) + ms));
	const sent: Sent[] = Array.from({ length: SHARDS * 4 }, (_, n) =>
		times.map((timeMs) => plant(`u${n}`, `${n} ${timeMs}`, {}, timeMs)),
	).flat();
	await queue.put("realtime", sent.map(lineOf).join("\n"));
	await system.run("alarm.consume");
	await eventually(async () => (await queue.parked("realtime")).size > 0, "parked");
	expect(await shards.all("failures")).toEqual([]);
	await system.run("shard.router");
	await eventually(async () => (await queue.left()) === 0, "the lanes empty");
	expect(brokenPromises(sent, await shards.all("alarms_"))).toEqual([]);
	expect(await shards.all("failures")).toEqual([]);
	for (const { told } of sent) {
		const id = Buffer.from("id" in told ? (told.id ?? "") : "", "base64url");
		expect(await shards.slot(id)).not.toBeNull();
	}
	await expectMonths(-6);
});

test("a month that one cluster could not make in time is made when it is back, though it has newer ones by then", async () => {
	const missed = [-2, -1].map((at) => addMonths(CURRENT, at));
	await unmake([...missed, ...[0, 1, 2].map((at) => addMonths(CURRENT, at))]);
	await freeze(system.servers.mongods.c1?.pid ?? 0);
	const { errors } = await ensureCollections(clusters, await shards.map(), new Date(NOW_MS)).finally(() =>
		thaw(system.servers.mongods.c1?.pid ?? 0),
	);
	expect(errors.length).toBeGreaterThan(0);
	const made = await shards.map();
	const [onC0, onC1] = ["c0", "c1"].map((name) => made.shards.filter(({ cluster }) => cluster === name));
	for (const place of onC0 ?? []) expect(monthsIn(place)).toEqual(monthsFrom(-6));
	for (const place of onC1 ?? []) expect(monthsIn(place)).not.toContain(alarmsOf(CURRENT));
	await eventually(async () => {
		await ensureCollections(clusters, await shards.map(), new Date(NOW_MS));
		await expectMonths(-6);
		return true;
	}, "all months");
	await unmake([missed[0] as Month]);
	await ensureCollections(clusters, await shards.map(), new Date(NOW_MS));
	await expectMonths(-6);
});

/** On the first day of a long month its end lies further ahead than `sendAt` may. */
const BORDER_MS = Math.min(monthStartMs(addMonths(CURRENT, 1)), NOW_MS + 30 * DAY_MS - 3_600_000);
const COUNT = 1_500;
const SENDERS = 32;

test("alarms on both sides of a month's end are all stored under load, each once and in its month, though the month is made meanwhile", async () => {
	const next = addMonths(monthOf(BORDER_MS - 1), 1);
	await unmake([next, addMonths(next, 1)]);
	const producer = restClient(urlOf(await system.run("gateway,alarm.create")), system.keys.producerKey);
	await system.run("alarm.consume");
	const sent: Sent[] = [];
	let at = 0;
	const sender = async () => {
		for (let n = at++; n < COUNT; n = at++) {
			const sendAt = new Date(BORDER_MS + n - COUNT / 2).toISOString();
			const alarm: Marked = {
				userId: `u${n % 97}`,
				category: "card",
				title: "t",
				body: "b",
				sendAt,
				data: { mark: `${n}` },
			};
			sent.push(await send(producer, alarm));
			if (sent.length === COUNT / 2) await system.run("shard.router");
		}
	};
	await Promise.all(Array.from({ length: SENDERS }, sender));
	await eventually(async () => (await queue.left()) === 0, "the lanes empty");
	expect(sent.filter(({ told }) => told.is !== "ok")).toEqual([]);
	expect(brokenPromises(sent, await shards.all("alarms_"))).toEqual([]);
	expect(await shards.all("failures")).toEqual([]);
	const inMonths = await Promise.all(
		[monthOf(BORDER_MS - 1), next].map(async (month) => (await shards.all(alarmsOf(month))).map(({ _id }) => _id)),
	);
	for (const [index, month] of [monthOf(BORDER_MS - 1), next].entries())
		expect(new Set(inMonths[index]?.map((id) => monthOf(idTimeMs(id))))).toEqual(
			new Set(BORDER_MS === monthStartMs(next) || index === 0 ? [month] : []),
		);
	expect(inMonths.flat()).toHaveLength(COUNT);
});
