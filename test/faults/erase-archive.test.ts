import type { Document } from "mongodb";
import { userHash } from "../../domain/alarms/ids.ts";
import type { Slot } from "../../domain/alarms/rows.ts";
import { alarmsOf } from "../../domain/routing/collection-catalog.ts";
import { type EraseDeps, eraseCustomer } from "../../jobs/erase-customer.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { MOVE_STEPS } from "../../jobs/migrate/migration.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { publishLowWatermark } from "../../stores/routing/low-watermark.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { eventually } from "../support/eventually.ts";
import { customersOf, fillMonth } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { realMonth, realNowMs } from "../support/now.ts";
import type { TestServers } from "../support/servers.ts";
import type { TestShards } from "../support/shards.ts";

/** A customer is erased from a month whose mover was killed, and the next mover goes on with what that has left. */

const MONTH = realMonth(-4);
const SHARDS = 32;
const EACH = 25;

let databases: Databases;
let servers: TestServers;
let clusters: Clusters;
let shards: TestShards;
/** Each test has a shard of its own. */
let shard = -1;
let gone: string;
let rows: Slot[];

beforeAll(async () => {
	databases = await startDatabases(SHARDS, MONTH);
	({ servers, clusters, shards } = databases);
	await publishLowWatermark(clusters, realNowMs());
});
afterAll(() => databases?.stop());
beforeEach(async () => {
	shard++;
	rows = await fillMonth(clusters, await newestMap(clusters), shard, MONTH, { customers: 20, each: EACH });
	gone = customersOf(shard, 3, SHARDS)[2] ?? "";
});

async function erase(more: Partial<EraseDeps> = {}): Promise<void> {
	const signal = new AbortController().signal;
	const deps = {
		...moveDeps(clusters, "eraser", { leaseMs: 1_500 }),
		onProgress: () => undefined,
		signal,
		waitMs: 0,
		...more,
	};
	const steps = eraseCustomer(deps, { run: "erase-1", userId: gone, startedAtMs: realNowMs() - 3_600_000 });
	while (!(await steps.next()).done);
}
async function archive(): Promise<void> {
	for await (const _ of archiveMonth(moveDeps(clusters, "test"), { run: "r", shard, month: MONTH }));
}
/** As soon as the lease of the one that was killed is over. */
const whenFree = (deed: () => Promise<void>) => eventually(() => deed().then(() => true), "the shard free");
const isGone = ({ _id }: Pick<Slot, "_id">) => userHash(gone).equals(_id.subarray(0, 8));
/** The customer's, wherever they are. */
async function traces(): Promise<Document[]> {
	const found = await Promise.all(["alarms_", "retained_archive_", "copy_"].map((prefix) => shards.all(prefix)));
	return found.flat().filter((row) => isGone(row as Slot));
}
async function archived(): Promise<string[]> {
	const name = `alarm_a${String(shard).padStart(2, "0")}`;
	const found = await shards.cluster("a0").db(name).collection(alarmsOf(MONTH)).find().toArray();
	return found.map(({ _id }) => (_id as unknown as Buffer).toString("hex"));
}
const others = () => rows.filter((row) => !isGone(row)).map(({ _id }) => _id.toString("hex"));

async function killMoverAfter(step: string): Promise<void> {
	const mover = startMover(servers, { shard, month: MONTH, leaseMs: 1_500 });
	await mover.until(step);
	await mover.kill();
}

test.each(MOVE_STEPS)(
	"after a mover was killed behind the step '%s', nothing is left and nobody else's is lost",
	async (step) => {
		await killMoverAfter(step);
		expect(await traces()).not.toEqual([]);
		await whenFree(erase);
		expect(await traces()).toEqual([]);
		await archive();
		expect(await traces()).toEqual([]);
		expect(await archived()).toEqual(others().sort());
	},
);

test.each(["copied", "fenced", "switched", "renamed"])(
	"cut off between a source and its copy, with the mover killed behind '%s', it leaves nothing that keeps the next mover from its end",
	async (step) => {
		await killMoverAfter(step);
		const cut = new AbortController();
		const onProgress = () => cut.abort(new Error("cut off"));
		const half = () => erase({ onProgress, signal: cut.signal });
		await eventually(
			() => half().catch((error: Error) => error.message === "cut off" || Promise.reject(error)),
			"the shard free",
		);
		// The source is swept, and its copy is not.
		expect(await traces()).toHaveLength(EACH);
		await archive();
		await erase();
		expect(await traces()).toEqual([]);
		expect(await archived()).toEqual(others().sort());
	},
);

test("a mover that was frozen in its copy puts nothing back when it wakes", async () => {
	const mover = startMover(servers, { shard, month: MONTH, leaseMs: 1_500 });
	await mover.until("copied");
	process.kill(mover.pid, "SIGSTOP");
	await whenFree(erase);
	process.kill(mover.pid, "SIGCONT");
	expect(await mover.finish()).not.toBe("end done");
	expect(await traces()).toEqual([]);
});
