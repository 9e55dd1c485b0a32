import { shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { liftDeadFences } from "../../jobs/lock/lift-dead-fences.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { chanceOf, seedOfRun } from "../support/chance.ts";
import { eventually } from "../support/eventually.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { brokenPromises, okIds, tally } from "../support/oracle.ts";
import { TestQueue } from "../support/queue.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { SteadyLoad } from "../support/steady-load.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";
import { torment } from "../support/torment.ts";

/** What is done to movers of whole shards, and to their source and target, while alarms are accepted, stored, read and marked. */

const SHARDS = 4;
const SECONDS = 60;

let system: TestSystem;
let clusters: Clusters;
let shards: TestShards;

beforeEach(async () => {
	system = await startSystem({ LOGICAL_SHARDS: String(SHARDS) }, { names: ["c0", "c1", "a0"] });
	clusters = new Clusters(system.config);
	shards = new TestShards(system.servers);
});
afterEach(async () => {
	await clusters?.close();
	await shards?.close();
	await system?.stop();
});

test("movers killed and frozen, source and target frozen, at random moments: none refused, lost or doubled, and every mark kept", async () => {
	const seed = seedOfRun();
	console.log(`to play it again: FAULT_SEED=${seed} npm run faults -- -t "source and target frozen"`);
	const chance = chanceOf(seed, "movers");
	const create = urlOf(await system.run("gateway,alarm.create"));
	const query = urlOf(await system.run("gateway,alarm.query"));
	await system.run("alarm.consume");
	await system.run("shard.router");
	const load = await SteadyLoad.start({
		name: "moves",
		seed,
		producers: [restClient(create, system.keys.producerKey)],
		perSecond: 80,
	});
	await load.acceptedMore(200);
	const state = { over: false };
	const [acked, wrong] = [new Set<string>(), [] as string[]];
	const customers = await Promise.all(
		[1, 2, 3, 4, 5, 6].map(async (n) => {
			const userId = `moves-u${n * 17}`;
			return [userId, restClient(query, await system.tokenOf(userId))] as const;
		}),
	);
	const busy = customers.map((one) => readAndMark(one, state, acked, wrong));
	const [kills, freezes] = await torment({
		servers: system.servers,
		chance,
		forMs: SECONDS * 1_000,
		order: () => ({ shard: chance.between(0, SHARDS - 1), to: chance.pick(["c0", "c1"]) }),
		freezable: ["c0", "c1"],
	});
	await eventually(async () => (await liftDeadFences(moveDeps(clusters, "lifter"))).errors.length === 0);
	for (let shard = 0; shard < SHARDS; shard++) {
		const to = (await newestMap(clusters)).shards[shard]?.cluster === "c0" ? "c1" : "c0";
		await startMover(system.servers, { shard, to }).finish();
	}
	await load.acceptedMore(50);
	const sent = await load.stop();
	state.over = true;
	await Promise.all(busy);
	await drained();

	const rows = await shards.all("alarms_");
	console.log(`${kills} kills, ${freezes} freezes, ${acked.size} marks`, tally(sent));
	expect(wrong).toEqual([]);
	expect(brokenPromises(sent, rows).slice(0, 10)).toEqual([]);
	expect(okIds(sent).length).toBeGreaterThan(1_000);
	expect(sent.filter(({ told }) => told.is === "refused")).toEqual([]);
	const marked = new Set(rows.filter(({ readAt }) => readAt).map(({ _id }) => Buffer.from(_id).toString("base64url")));
	expect([...acked].filter((id) => !marked.has(id))).toEqual([]);
	expect(kills + freezes).toBeGreaterThan(5);
	for (const [shard, { cluster }] of (await newestMap(clusters)).shards.entries()) {
		const other = shards.cluster(cluster === "c0" ? "c1" : "c0").db(shardDatabase(shard));
		const strangers = await other.listCollections({ name: /^(alarms|keys|users|failures|incoming)_?/ }).toArray();
		expect(strangers.map(({ name }) => name)).toEqual([]);
	}
}, 400_000);

/** An inbox never loses what it has shown, and an answer is an answer; a shard that is being switched may ask for a moment's patience. */
async function readAndMark(
	[userId, inbox]: readonly [string, Rest],
	state: { over: boolean },
	acked: Set<string>,
	wrong: string[],
): Promise<void> {
	let known: string[] = [];
	while (!state.over) {
		const { status, body } = await inbox("GET", `/v1/users/${userId}/alarms?limit=100`);
		if (status === 200) {
			const ids: string[] = body.items.map(({ id }: { id: string }) => id);
			const lost = known.filter((id) => !ids.includes(id) && ids.length < 100);
			if (lost.length > 0) wrong.push(`${userId} no longer reads ${lost.join(", ")}`);
			known = ids;
			const unread = body.items.find(({ read }: { read: boolean }) => !read);
			if (unread) {
				const marked = await inbox("PATCH", `/v1/users/${userId}/alarms/${unread.id}`, { read: true });
				if (marked.status === 200) acked.add(unread.id);
				else if (marked.status !== 503) wrong.push(`mark: ${marked.status} ${marked.body.code}`);
			}
		} else if (status !== 503) wrong.push(`read: ${status} ${body.code}`);
		await new Promise((done) => setTimeout(done, 20));
	}
}

async function drained(): Promise<void> {
	const queue = await TestQueue.open(system.servers.nats.url);
	await eventually(async () => Object.keys(await queue.bySubject()).length === 0, "queue drained", 90_000);
	await queue.close();
	await eventually(
		async () => (await shards.all("outbox")).filter(({ payload }) => payload !== undefined).length === 0,
		"outbox drained",
		90_000,
	);
}
