import type { Document } from "mongodb";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { addMonths } from "../../domain/time/periods.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { realMonth, realNowMs } from "../support/now.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** Every read must be one bounded range scan per month: what the service sends is recorded, and explained by the server itself. */

let system: TestSystem;
let shards: TestShards;
let inbox: Rest;
let producer: Rest;
const sent: { database: string; command: Document }[] = [];
const newest = newAlarmId("me", realNowMs());

beforeAll(async () => {
	system = await startSystem();
	shards = new TestShards(system.servers);
	const broker = await system.run("gateway,alarm.query");
	const { clusters } = broker.getLocalService("alarm.query") as unknown as {
		clusters: { service: Map<string, Cluster> };
	};
	for (const cluster of clusters.service.values()) record(cluster);
	inbox = restClient(urlOf(broker), await system.tokenOf("me"));
	producer = restClient(urlOf(broker), system.keys.producerKey);
	await fill("me", 300);
	await fill("someone-else", 300);
	await (await shards.inMonth(newest)).insertOne({
		_id: newest,
		userId: "me",
		category: "card",
		title: "t",
		body: "b",
		producer: "demo",
	});
});
afterAll(async () => {
	await shards?.close();
	await system?.stop();
});

function record(cluster: Cluster): void {
	const read = cluster.read.bind(cluster);
	cluster.read = (database, command) => {
		sent.push({ database, command });
		return read(database, command);
	};
}

async function fill(userId: string, count: number): Promise<void> {
	const rows = Array.from({ length: count }, (_, n) => {
		const _id = newAlarmId(userId, realNowMs() - 1_000 - n);
		return { _id, userId, category: n % 2 ? "card" : "loan", title: "t", body: "b", producer: "demo" };
	});
	const [first] = rows;
	if (first) await (await shards.inMonth(first._id)).insertMany(rows);
}

interface Explained {
	command: Document;
	stats: Document;
}

async function explained(read: () => Promise<{ status: number }>): Promise<Explained[]> {
	sent.length = 0;
	expect((await read()).status).toBe(200);
	const alarms = sent.filter(({ command }) => collectionOf(command).startsWith("alarms_"));
	expect(alarms.length).toBeGreaterThan(0);
	return Promise.all(
		alarms.map(async ({ database, command }) => {
			const { maxTimeMS: _limit, ...plain } = command;
			const on = (await clusterOf(database)).db(database);
			const explanation = await on.command({ explain: plain, verbosity: "executionStats" });
			return { command, stats: explanation.executionStats ?? explanation.stages[0].$cursor.executionStats };
		}),
	);
}

function collectionOf({ find, aggregate }: Document): string {
	return String(find ?? aggregate);
}

async function clusterOf(database: string) {
	const map = await shards.map();
	return shards.cluster(map.shards[Number(database.slice("alarm_s".length))]?.cluster ?? "");
}

function scanOf(stage: Document): Document {
	return stage.inputStage === undefined ? stage : scanOf(stage.inputStage);
}

const reads: [what: string, read: () => Promise<{ status: number }>, mostExamined: number][] = [
	["a page", () => inbox("GET", "/v1/users/me/alarms?limit=20"), 21],
	["a page under a filter", () => inbox("GET", "/v1/users/me/alarms?limit=20&category=card"), 200],
	["one alarm", () => inbox("GET", `/v1/users/me/alarms/${newest.toString("base64url")}`), 1],
	["the unread count", () => inbox("GET", "/v1/users/me/alarms/unread-count"), 101],
	["a status", () => producer("GET", `/v1/alarms/${newest.toString("base64url")}/status`), 1],
];

test.each(reads)(
	"%s is one bounded scan of the clustered tree per month, in one batch",
	async (_what, read, mostExamined) => {
		const found = await explained(read);
		const months = found.map(({ command }) => collectionOf(command));
		expect(new Set(months).size).toBe(months.length);
		for (const { command, stats } of found) {
			const scan = scanOf(stats.executionStages);
			expect(scan.stage).toBe("CLUSTERED_IXSCAN");
			expect(scan.minRecord).toBeDefined();
			expect(scan.maxRecord).toBeDefined();
			expect(JSON.stringify(stats)).not.toContain('"SORT"');
			// One more may be looked at to see the end of the range.
			expect(stats.totalDocsExamined).toBeLessThanOrEqual(mostExamined + 1);
			expect(command.collectionUUID).toBeDefined();
			if (command.find !== undefined) expect(command).toMatchObject({ singleBatch: true, batchSize: command.limit });
			else expect(command.cursor.batchSize).toBeGreaterThan(command.pipeline[2].$limit + 1);
		}
	},
);

test("a page goes on into older months only when the newer ones do not fill it", async () => {
	sent.length = 0;
	await inbox("GET", "/v1/users/me/alarms?limit=20");
	const months = sent.map(({ command }) => collectionOf(command)).filter((name) => name.startsWith("alarms_"));
	const current = realMonth();
	expect(months).toEqual([`alarms_${current}`]);
	expect(months).not.toContain(`alarms_${addMonths(current, 1)}`);
});

test("a page is one command: the owner's marks come along, by their own point read", async () => {
	sent.length = 0;
	await inbox("GET", "/v1/users/me/alarms?limit=20");
	expect(sent).toHaveLength(1);
	const { database, command } = sent[0] as (typeof sent)[number];
	const { coll, pipeline } = command.pipeline[3].$unionWith;
	const on = (await clusterOf(database)).db(database);
	const { executionStats } = await on.command({
		explain: { find: coll, filter: pipeline[0].$match },
		verbosity: "executionStats",
	});
	expect(scanOf(executionStats.executionStages).stage).toBe("CLUSTERED_IXSCAN");
	expect(executionStats.totalDocsExamined).toBeLessThanOrEqual(1);
});
