import { join, resolve } from "node:path";
import { type RelayEffects, relayAll } from "../../accept/outbox-relay.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { Target } from "../../domain/routing/routing.ts";
import { findServer, type RunningMongod, startMongod } from "../../ops/embedded/index.ts";
import { claimRows, Outbox, type OutboxRow, oldestIn, outboxes, removeRows } from "../../stores/alarms/outbox.ts";
import { outboxDepth } from "../../stores/alarms/outbox-depth.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { findIn } from "../../stores/mongo/commands.ts";
import { type Lease, releaseLease, takeLease } from "../../stores/mongo/lease.ts";
import { CachedDocument } from "../../stores/routing/cached-document.ts";
import { ensureCollections, ensureMap, MAP_ID } from "../../stores/routing/provision.ts";
import { eventually } from "../support/eventually.ts";
import { realNow } from "../support/now.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";

let servers: TestServers;
let clusters: Clusters;
let outbox: Outbox;
let target: Target;
const cluster = () => clusters.at("c0");

beforeAll(async () => {
	servers = await startServers(["c0"]);
	clusters = new Clusters(configOf(servers));
	await ensureCollections(clusters, await ensureMap(clusters, 16, realNow()), realNow());
	const routing = new CachedDocument<RoutingMap>(clusters, MAP_ID, { onError: () => undefined });
	await routing.reload();
	outbox = new Outbox(clusters, routing, 1024 ** 3);
	target = outboxes(clusters, routing.current)[0] as Target;
});
afterAll(async () => {
	await clusters?.close();
	await servers?.mongods.c0?.stop();
	await servers?.stop();
});

const batchOf = (number: number) => ({
	lane: "bulk" as const,
	epoch: "e",
	number,
	payload: Buffer.from(`${number}`),
	sinceMs: 1_000 + number,
});
/** Counted, not asked for: what the database keeps as its count is wrong after a crash. */
const left = async () => (await findIn(clusters, target, {}, 1_000)).length;

test("a lease has one holder at a time; its own holder makes it longer and keeps the token", async () => {
	const first = await takeLease(cluster(), "duty", "one", 10_000);
	expect(first).toMatchObject({ token: 1 });
	expect(await takeLease(cluster(), "duty", "two", 10_000)).toBeNull();
	expect(await takeLease(cluster(), "duty", "one", 10_000)).toMatchObject({ token: 1 });
	await releaseLease(cluster(), "duty", "two");
	expect(await takeLease(cluster(), "duty", "two", 10_000)).toBeNull();
	await releaseLease(cluster(), "duty", "one");
	expect(await takeLease(cluster(), "duty", "two", 10_000)).toMatchObject({ token: 2 });
});

test("a lease that is over goes to the next, and its first holder comes back with a new token", async () => {
	await takeLease(cluster(), "over", "one", 1);
	const second = await eventually(() => takeLease(cluster(), "over", "two", 1), "the second holder");
	const again = await eventually(() => takeLease(cluster(), "over", "one", 10_000), "the first again");
	expect([second.token, again.token]).toEqual([2, 3]);
});

/** Killed, and started again on its port with its data. */
async function restart(name: string): Promise<void> {
	const { uri, pid, ended } = servers.mongods[name] as RunningMongod;
	process.kill(pid, "SIGKILL");
	await ended;
	const binary = await findServer("mongod", { runDir: resolve(".run"), say: () => undefined });
	const port = Number(new URL(uri).port);
	servers.mongods[name] = await startMongod({ binary, dir: join(servers.dir, name), name, port });
}

/** A relay with a queue that only notes what it is given; `hold` keeps it before its first publish. */
function relay(holder: string, forMs: number, published: number[], hold: Promise<unknown> = Promise.resolve()) {
	const leases: Lease[] = [];
	const deeds: RelayEffects<OutboxRow> = {
		lease: async () => {
			const lease = await takeLease(cluster(), "relay", holder, forMs);
			if (lease !== null) leases.push(lease);
			return lease;
		},
		release: () => releaseLease(cluster(), "relay", holder),
		claim: (token, after) => claimRows(clusters, target, { lane: "bulk", token, after, limit: 20 }),
		isHopeless: () => false,
		publish: async ({ number }) => {
			await hold;
			published.push(number);
		},
		remove: (token, ids) => removeRows(clusters, target, token, ids),
	};
	return { deeds, leases };
}

test("an outbox is relayed oldest first and to the end, each batch once", async () => {
	for (const number of [30, 2, 11]) await outbox.save(batchOf(number));
	for (let number = 100; number < 140; number++) await outbox.save(batchOf(number));
	const published: number[] = [];
	expect(await relayAll(relay("one", 10_000, published).deeds)).toBe(43);
	expect(published.slice(0, 3)).toEqual([2, 11, 30]);
	expect(new Set(published).size).toBe(43);
	expect(await left()).toBe(0);
});

test("of two relays that race one works and the other does nothing", async () => {
	for (let number = 0; number < 50; number++) await outbox.save(batchOf(number));
	const published: number[] = [];
	const counts = await Promise.all(["one", "two"].map((name) => relayAll(relay(name, 10_000, published).deeds)));
	expect(counts.reduce((sum, count) => sum + count, 0)).toBe(50);
	expect(published).toHaveLength(50);
});

test("a relay that stood still past its lease removes nothing that another has claimed meanwhile", async () => {
	await outbox.save(batchOf(1));
	const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
	// Its lease is as long as the margin and a little: it is over as soon as it stands still.
	const [slowGot, fastGot]: number[][] = [[], []];
	const slow = relay("slow", 3_200, slowGot as number[], woken);
	const running = relayAll(slow.deeds);
	await eventually(() => slow.leases.length > 0, "the first lease");
	const fast = relay("fast", 10_000, fastGot as number[]);
	const lease = await eventually(() => fast.deeds.lease(), "the lease of the other");
	const claimed = await fast.deeds.claim(lease.token, "");
	expect(claimed.map(({ number }) => number)).toEqual([1]);
	wake();
	expect(await running).toBe(1);
	expect(await left()).toBe(1);
	await fast.deeds.remove(
		lease.token,
		claimed.map(({ _id }) => _id),
	);
	expect(await left()).toBe(0);
	await fast.deeds.release();
});

test("what could not be published stays, and what was is gone", async () => {
	for (let number = 0; number < 20; number++) await outbox.save(batchOf(number));
	const { deeds } = relay("one", 10_000, []);
	const refusing = {
		...deeds,
		publish: ({ number }: OutboxRow) => (number === 10 ? Promise.reject(new Error("full")) : Promise.resolve()),
	};
	await expect(relayAll(refusing)).rejects.toThrow("full");
	// Eight are on their way at once: all but the refused one of those are on the queue.
	expect(await left()).toBe(5);
	await deeds.release();
});

test("a row that the queue will never take holds up none behind it, and stays", async () => {
	const before = (await left()) ?? 0;
	for (let number = 200; number < 250; number++) await outbox.save(batchOf(number));
	const published: number[] = [];
	const { deeds } = relay("one", 10_000, published);
	const picky = {
		...deeds,
		publish: (row: OutboxRow) => (row.number === 205 ? Promise.reject(new Error("too large")) : deeds.publish(row)),
		isHopeless: () => true,
	};
	expect(await relayAll(picky)).toBe(49 + before);
	expect(await left()).toBe(1);
	expect(await relayAll(deeds)).toBe(1);
});

test("each lane is relayed by itself, and the oldest of both is the age of the outbox", async () => {
	await outbox.save({ ...batchOf(5), sinceMs: 7_000 });
	await outbox.save({ ...batchOf(6), lane: "realtime", sinceMs: 9_000 });
	const published: number[] = [];
	await relayAll(relay("one", 10_000, published).deeds);
	expect(published).toEqual([5]);
	expect(await oldestIn(clusters, target)).toBe(9_000);
	const [row] = await claimRows(clusters, target, { lane: "realtime", token: 99, after: "", limit: 9 });
	await removeRows(clusters, target, 99, [row?._id ?? ""]);
	expect(await oldestIn(clusters, target)).toBeNull();
});

test("after a crash that spoils the database's own counts the outbox is still found filled, and relayed", async () => {
	for (let number = 300; number < 310; number++) await outbox.save(batchOf(number));
	await cluster().command("admin", { fsync: 1 });
	for (let number = 310; number < 330; number++) await outbox.save(batchOf(number));
	// The first 25 are removed, and the counts of the checkpoint know of ten.
	const rows = await claimRows(clusters, target, { lane: "bulk", token: 1_000, after: "", limit: 25 });
	await removeRows(
		clusters,
		target,
		1_000,
		rows.map(({ _id }) => _id),
	);
	await restart("c0");
	await eventually(async () => (await outbox.filled()).length === 1, "the outbox found filled");
	expect(await relayAll(relay("one", 10_000, []).deeds)).toBe(5);
	expect(await outbox.filled()).toEqual([]);
	expect(await outboxDepth(cluster())).toEqual({ batches: 0, bytes: 0, oldestMs: null });
});

test("a batch that was saved twice is one row", async () => {
	const before = await left();
	await outbox.save(batchOf(77));
	await outbox.save(batchOf(77));
	expect(await left()).toBe((before ?? 0) + 1);
});
