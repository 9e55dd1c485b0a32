import type { Document } from "mongodb";
import { showId } from "../../domain/alarms/ids.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { archiveDatabase } from "../../domain/routing/collection-catalog.ts";
import { monthStartMs } from "../../domain/time/periods.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import type { MoveStep } from "../../jobs/migrate/migration.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { fillInboxes, scroll } from "../support/inboxes.ts";
import { customersOf } from "../support/months.ts";
import { moveDeps } from "../support/movers.ts";
import { realMonth } from "../support/now.ts";
import { restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Customers read and mark through every step of an archival, on a query edge that hears no news of the map. */

const MONTHS = [-4, -3, -2].map((at) => realMonth(at)) as [string, string, string];
const [OLDEST, MIDDLE] = MONTHS;
const SHARD = 1;
const CUSTOMERS = customersOf(SHARD, 3, 2);
const EACH = 30;

let system: TestSystem;
let clusters: Clusters;
let shards: TestShards;
let url: string;
const expected = new Map<string, string[]>();

beforeAll(async () => {
	const since = new Date(monthStartMs(OLDEST));
	system = await startSystem({ LOGICAL_SHARDS: "2" }, { names: ["c0", "c1", "a0"], since });
	clusters = new Clusters(system.config);
	shards = new TestShards(system.servers);
	await fillInboxes(clusters, { shard: SHARD, customers: CUSTOMERS, months: MONTHS, each: EACH }, expected);
	url = urlOf(await system.run("gateway,alarm.query"));
});
afterAll(async () => {
	await clusters?.close();
	await shards?.close();
	await system?.stop();
});

const inboxOf = async (userId: string) => restClient(url, await system.tokenOf(userId));

test("through every step each inbox is read whole, without gap, double or error, and every mark that was acked is kept", async () => {
	const state = { step: "before" as MoveStep | "before" | "over", scrolls: new Map<string, number>() };
	const acked = new Set<string>();
	const answers = new Set<string>();
	const read = async (userId: string, limit: number) => {
		const inbox = await inboxOf(userId);
		while (state.step !== "over") {
			const during = state.step;
			expect(await scroll(inbox, userId, limit)).toEqual(expected.get(userId));
			state.scrolls.set(during, (state.scrolls.get(during) ?? 0) + 1);
		}
	};
	const mark = async (userId: string) => {
		const inbox = await inboxOf(userId);
		const ids = (expected.get(userId) ?? []).slice(EACH).values();
		for (let id = ids.next(); !id.done && state.step !== "over"; id = ids.next()) {
			const { status, body } = await inbox("PATCH", `/v1/users/${userId}/alarms/${id.value}`, { read: true });
			answers.add(`${status} ${body.code ?? ""}`.trim());
			if (status === 200) acked.add(id.value);
		}
	};
	const busy = [...CUSTOMERS.map((userId, at) => read(userId, 7 + at * 12)), ...CUSTOMERS.map(mark)];
	for (const month of [OLDEST, MIDDLE]) {
		for await (const step of archiveMonth(moveDeps(clusters, "test"), { run: "r", shard: SHARD, month })) {
			state.step = step;
			const before = state.scrolls.get(step) ?? 0;
			while ((state.scrolls.get(step) ?? 0) === before) await Promise.race([Promise.all(busy), pause()]);
		}
	}
	state.step = "over";
	await Promise.all(busy);
	expect([...state.scrolls.keys()]).toContain("switched");
	// Refused, or asked to come again: both are true answers; nothing else is.
	expect(["200", "409 ALARM_ARCHIVED", "503 UNAVAILABLE"]).toEqual(expect.arrayContaining([...answers]));
	const rows = await shards
		.cluster("a0")
		.db(archiveDatabase(SHARD))
		.collection<Document & AlarmRow>(`alarms_${OLDEST}`);
	const archived = [
		...(await rows.find().toArray()),
		...(await shards
			.cluster("a0")
			.db(archiveDatabase(SHARD))
			.collection<Document & AlarmRow>(`alarms_${MIDDLE}`)
			.find()
			.toArray()),
	];
	expect(archived).toHaveLength(2 * CUSTOMERS.length * EACH);
	const read200 = new Set(archived.filter(({ readAt }) => readAt !== undefined).map(({ _id }) => showId(_id)));
	expect(acked.size).toBeGreaterThan(0);
	for (const id of acked) expect(read200).toContain(id);
});

const pause = () => new Promise((done) => setTimeout(done, 5));
