import type { Document } from "mongodb";
import { showId } from "../../domain/alarms/ids.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { alarmsOf, archiveDatabase } from "../../domain/routing/collection-catalog.ts";
import { monthStartMs } from "../../domain/time/periods.ts";
import { liftDeadFences } from "../../jobs/lock/lift-dead-fences.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { chanceOf, seedOfRun } from "../support/chance.ts";
import { eventually } from "../support/eventually.ts";
import { fillInboxes, scroll } from "../support/inboxes.ts";
import { customersOf } from "../support/months.ts";
import { moveDeps, startMover } from "../support/movers.ts";
import { realMonth } from "../support/now.ts";
import { restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";
import { torment } from "../support/torment.ts";

/** What is done to movers, and to the archive, while customers read and mark. */

const MONTHS = [-5, -4, -3].map((at) => realMonth(at));
const SHARDS = 2;
const EACH = 40;
const CUSTOMERS = [0, 1].flatMap((shard) => customersOf(shard, 4, SHARDS));
const SECONDS = 60;

let system: TestSystem;
let clusters: Clusters;
let shards: TestShards;
/** What each inbox must show, newest first. */
let expected: Map<string, string[]>;

beforeEach(async () => {
	const since = new Date(monthStartMs(MONTHS[0] ?? ""));
	system = await startSystem({ LOGICAL_SHARDS: String(SHARDS) }, { names: ["c0", "c1", "a0"], since });
	clusters = new Clusters(system.config);
	shards = new TestShards(system.servers);
	expected = new Map();
	for (const shard of [0, 1])
		await fillInboxes(
			clusters,
			{ shard, customers: customersOf(shard, 4, SHARDS), months: MONTHS, each: EACH },
			expected,
		);
});
afterEach(async () => {
	await clusters?.close();
	await shards?.close();
	await system?.stop();
});

test("movers killed and frozen, and an archive frozen, at random moments: every inbox whole, every mark kept, every month archived", async () => {
	const seed = seedOfRun();
	console.log(`to play it again: FAULT_SEED=${seed} npm run faults -- -t "movers killed and frozen"`);
	const chance = chanceOf(seed, "movers");
	const url = urlOf(await system.run("gateway,alarm.query"));
	const inboxes = await Promise.all(
		CUSTOMERS.map(async (userId) => [userId, restClient(url, await system.tokenOf(userId))] as const),
	);
	const state = { over: false, scrolls: 0 };
	const [acked, wrong, troubles] = [new Set<string>(), [] as string[], new Map<string, number>()];
	const tell = (what: string) => troubles.set(what, (troubles.get(what) ?? 0) + 1);
	const read = async ([userId, inbox]: (typeof inboxes)[number]) => {
		while (!state.over) {
			const ids = await scroll(inbox, userId, chance.between(5, 60));
			state.scrolls++;
			if (typeof ids === "string") tell(ids);
			else if (ids.join() !== expected.get(userId)?.join()) wrong.push(`${userId} read ${ids.length} ids`);
		}
	};
	const mark = async ([userId, inbox]: (typeof inboxes)[number]) => {
		while (!state.over) {
			const id = chance.pick(expected.get(userId) ?? []);
			const { status, body } = await inbox("PATCH", `/v1/users/${userId}/alarms/${id}`, { read: true });
			if (status === 200) acked.add(id);
			else tell(`mark: ${status} ${body.code}`);
		}
	};
	const busy = inboxes.flatMap((one) => [read(one), mark(one)]);
	const [kills, freezes] = await torment({
		servers: system.servers,
		chance,
		forMs: SECONDS * 1_000,
		order: () => ({ shard: chance.between(0, SHARDS - 1), month: chance.pick(MONTHS) }),
		freezable: ["a0"],
	});
	state.over = true;
	await Promise.all(busy);
	await eventually(async () => (await liftDeadFences(moveDeps(clusters, "router"))).errors.length === 0);
	for (const shard of [0, 1]) for (const month of MONTHS) await startMover(system.servers, { shard, month }).finish();

	console.log(
		`${kills} kills, ${freezes} freezes, ${state.scrolls} scrolls, ${acked.size} marks`,
		Object.fromEntries(troubles),
	);
	expect(wrong).toEqual([]);
	const allowed = [
		"503 ARCHIVE_UNAVAILABLE",
		"mark: 409 ALARM_ARCHIVED",
		"mark: 503 UNAVAILABLE",
		"mark: 503 ARCHIVE_UNAVAILABLE",
	];
	expect(allowed).toEqual(expect.arrayContaining([...troubles.keys()]));
	const rows = await archivedRows();
	expect(rows.map(({ _id }) => showId(_id)).sort()).toEqual([...expected.values()].flat().sort());
	const marked = new Set(rows.filter(({ readAt }) => readAt !== undefined).map(({ _id }) => showId(_id)));
	expect([...acked].filter((id) => !marked.has(id))).toEqual([]);
	expect(kills + freezes).toBeGreaterThan(5);
}, 300_000);

async function archivedRows(): Promise<AlarmRow[]> {
	const all = await Promise.all(
		[0, 1].flatMap((shard) =>
			MONTHS.map((month) =>
				shards
					.cluster("a0")
					.db(archiveDatabase(shard))
					.collection<Document & AlarmRow>(alarmsOf(month))
					.find()
					.toArray(),
			),
		),
	);
	return all.flat();
}
