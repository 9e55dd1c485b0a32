import { randomUUID } from "node:crypto";
import type { ServiceBroker } from "moleculer";
import type { FailureCode } from "../../contracts/errors.ts";
import type { Failure, FailureExport, FailureQuery, RedriveItem } from "../../contracts/failures.ts";
import { encodeItem } from "../../domain/alarms/batch.ts";
import { idTimeMs, newAlarmId, shardOf, showId } from "../../domain/alarms/ids.ts";
import type { QueuedAlarm } from "../../domain/alarms/rows.ts";
import { alarmsOf, SHARD_CATALOG, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { withChange } from "../../domain/routing/routing.ts";
import { monthOf } from "../../domain/time/periods.ts";
import { call } from "../../lib/moleculer/service.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { ensureCollection } from "../../stores/mongo/collections.ts";
import { deleteOne, isMoved, updateOne } from "../../stores/mongo/commands.ts";
import { MAP_ID } from "../../stores/routing/provision.ts";
import { replaceDocument } from "../../stores/routing/versioned-documents.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNow, realNowMs } from "../support/now.ts";
import { TestQueue } from "../support/queue.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

let system: TestSystem;
let queue: TestQueue;
let shards: TestShards;
let edge: ServiceBroker;
let operator: Rest;
let producer: Rest;

beforeAll(async () => {
	system = await startSystem({ REDRIVE_PER_SECOND: "1000" });
	queue = await TestQueue.open(system.servers.nats.url);
	shards = new TestShards(system.servers);
	edge = await system.run("gateway,alarm.query");
	await system.run("alarm.consume");
	operator = restClient(urlOf(edge), system.keys.opsKey);
	producer = restClient(urlOf(edge), system.keys.producerKey);
});
afterAll(async () => {
	await queue?.close();
	await shards?.close();
	await system?.stop();
});

const queued = (userId: string, more: object = {}, sender = "demo"): QueuedAlarm => ({
	producer: sender,
	acceptedAtMs: realNowMs(),
	alarm: { userId, category: "card", title: "secret title", body: "secret body", data: { a: "secret data" }, ...more },
});
const drained = () => eventually(async () => (await queue.left()) === 0, "the lanes empty");
const idFor = (userId: string, aheadMs = 0) => newAlarmId(userId, realNowMs() + aheadMs);
const nobody = () => `u-${randomUUID()}`;

/** A failure as a worker leaves it: the tombstone and its row. The item is sound, so that a redrive can store it. */
async function plant(
	own: {
		userId?: string;
		sender?: string;
		code?: FailureCode;
		failedAt?: Date;
		more?: object;
		slot?: object | null;
	} = {},
): Promise<Buffer> {
	const { userId = nobody(), sender = "demo", code = "CLOCK_SKEW", failedAt = realNow(), more = {} } = own;
	const _id = idFor(userId);
	const why = { code, message: "m" };
	const { slot = { outcome: "failed", why, producer: sender, at: failedAt } } = own;
	if (slot !== null) await (await shards.inMonth(_id)).insertOne({ ...slot, _id });
	const item = encodeItem(_id, queued(userId, more, sender)).line;
	const row = { ...why, lane: "bulk", item, failedAt, producer: sender, userId, category: "card" };
	await (await shards.inMonth(_id, "failures")).insertOne({ _id, ...row });
	return _id;
}

async function plantMany(count: number, own: Parameters<typeof plant>[0]): Promise<Buffer[]> {
	const ids: Buffer[] = [];
	for (let n = 0; n < count; n++) ids.push(await plant(own));
	return ids;
}

async function list(query: object, by = operator): Promise<{ items: Failure[]; nextCursor: string | null }> {
	const { status, body } = await by("GET", `/v1/failures?${new URLSearchParams({ ...query })}`);
	expect({ status, body }).toMatchObject({ status: 200 });
	return body;
}
const idsIn = (items: { id: string }[]) => items.map(({ id }) => id);

async function redrive(ids: Buffer[], by = operator): Promise<RedriveItem[]> {
	const { status, body } = await by("POST", "/v1/failures/redrive", { ids: ids.map(showId) });
	expect({ status, body }).toMatchObject({ status: 200, body: { more: false } });
	expect(idsIn(body.results)).toEqual(ids.map(showId));
	return body.results;
}

async function clusterOf(id: Buffer): Promise<string> {
	const map = await shards.map();
	return map.shards[shardOf(id, map.shards.length)]?.cluster ?? "";
}

describe("a redrive of an alarm with an idempotency key", () => {
	const keyed = { idempotencyKey: "k" };

	test("ends as a duplicate when its producer has sent it again meanwhile", async () => {
		const userId = nobody();
		const failed = await plant({ userId, more: keyed });
		const again = idFor(userId);
		await queue.put("realtime", encodeItem(again, queued(userId, keyed)).line);
		await drained();
		expect(await redrive([failed])).toMatchObject([{ result: "duplicate" }]);
		expect(await shards.slot(again)).toMatchObject({ userId });
		expect((await operator("GET", `/v1/alarms/${showId(failed)}/status`)).body).toMatchObject({
			status: "duplicate",
			of: showId(again),
		});
		expect(await shards.failure(failed)).toBeNull();
	});

	test("claims the key: what is sent again after it is the duplicate", async () => {
		const userId = nobody();
		const failed = await plant({ userId, more: keyed });
		expect(await redrive([failed])).toMatchObject([{ result: "stored" }]);
		const again = idFor(userId);
		await queue.put("realtime", encodeItem(again, queued(userId, keyed)).line);
		await drained();
		expect(await shards.slot(again)).toMatchObject({ outcome: "duplicate" });
	});
});

describe("poison", () => {
	test("of every kind in one batch fails alone, each by its cause; the good one is stored", async () => {
		const userId = nobody();
		const line = (id: Buffer, more: object = {}) => encodeItem(id, queued(userId, more)).line;
		const [good, skew, old, expired] = [
			idFor(userId),
			idFor(userId, 120_000),
			idFor(userId, -400 * 86_400_000),
			idFor(userId),
		];
		const [torn, odd, deep, nothing] = [idFor(userId), idFor(userId), idFor(userId), idFor(userId)];
		let nested: object = {};
		for (let level = 0; level < 300; level++) nested = { nested };
		await queue.put(
			"realtime",
			[
				line(skew),
				line(old),
				line(expired, { expiresAt: new Date(realNowMs() - 1_000).toISOString() }),
				line(torn).slice(0, -10),
				line(odd, { data: { a: { _bsontype: "x" } } }),
				line(deep, { data: nested }),
				`${showId(nothing)} {}`,
				line(good),
			].join("\n"),
		);
		await drained();
		const codeOf = async (id: Buffer) => (await shards.failure(id))?.code;
		expect(await shards.slot(good)).toMatchObject({ userId });
		expect(await shards.slot(expired)).toMatchObject({ outcome: "expired" });
		expect(await Promise.all([skew, old, torn, odd, deep, nothing].map(codeOf))).toEqual([
			...["CLOCK_SKEW", "MONTH_CLOSED", "CORRUPT_ITEM", "STORE_REJECTED", "STORE_REJECTED", "CORRUPT_ITEM"],
		]);
	});

	test("so large that nothing else of its kind could be sent keeps nobody from being stored", async () => {
		const userId = nobody();
		const [large, good] = [idFor(userId), idFor(userId)];
		const zeros = { data: { zeros: Array<number>(450_000).fill(0) } };
		await queue.put(
			"bulk",
			[encodeItem(large, queued(userId, zeros)).line, encodeItem(good, queued(userId)).line].join("\n"),
		);
		await drained();
		expect(await shards.slot(good)).toMatchObject({ userId });
		expect(await shards.slot(large)).not.toBeNull();
	});
});

describe("the list", () => {
	test("shows a failure as the worker left it, without its content", async () => {
		const userId = nobody();
		const id = idFor(userId, 120_000);
		await queue.put("bulk", encodeItem(id, queued(userId)).line);
		await drained();
		const { items } = await list({ userId });
		expect(items).toEqual([
			{
				id: showId(id),
				code: "CLOCK_SKEW",
				message: expect.any(String),
				producer: "demo",
				userId,
				category: "card",
				lane: "bulk",
				acceptedAt: new Date(idTimeMs(id)).toISOString(),
				failedAt: expect.any(String),
			},
		]);
		expect(JSON.stringify(items)).not.toContain("secret");
	});

	test("filters by producer, cause, customer and time", async () => {
		const [userId, sender] = [nobody(), nobody()];
		const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
		const first = await plant({ userId, sender, code: "MONTH_CLOSED", failedAt: at(1) });
		const second = await plant({ userId, sender: "demo", failedAt: at(2) });
		const third = await plant({ sender, failedAt: at(3) });
		const found = async (query: object) => idsIn((await list(query)).items);
		expect(await found({ producer: sender })).toEqual([third, first].map(showId));
		expect(await found({ userId })).toEqual([second, first].map(showId));
		expect(await found({ userId, code: "MONTH_CLOSED" })).toEqual([showId(first)]);
		expect(await found({ producer: sender, code: "CLOCK_SKEW" })).toEqual([showId(third)]);
		const between = (from: number, to: number) => ({ from: at(from).toISOString(), to: at(to).toISOString() });
		expect(await found(between(1, 3))).toEqual([third, second, first].map(showId));
		expect(await found(between(2, 2))).toEqual([showId(second)]);
		expect(await found({ ...between(2, 3), producer: sender })).toEqual([showId(third)]);
	});

	test.each([1, 7, 100])(
		"is paged by %d to its end without a gap or a double, though many failed in one moment",
		async (limit) => {
			const sender = nobody();
			const now = realNow();
			const before = new Date(now.getTime() - 1);
			const ids = [
				...(await plantMany(25, { sender, failedAt: now, slot: null })),
				...(await plantMany(25, { sender, failedAt: before, slot: null })),
			];
			const seen: string[] = [];
			for (let cursor: string | null = ""; cursor !== null; ) {
				const page = await list({ producer: sender, limit, ...(cursor && { cursor }) });
				seen.push(...idsIn(page.items));
				cursor = page.nextCursor;
			}
			const inOrder = [ids.slice(0, 25), ids.slice(25)].flatMap((some) => some.toSorted((a, b) => b.compare(a)));
			expect(seen).toEqual(inOrder.map(showId));
		},
	);

	test("of a producer holds its own; another's may not be asked for, and neither list nor redrive tells of it", async () => {
		const userId = nobody();
		const [mine, theirs] = [await plant({ userId }), await plant({ userId, sender: "other" })];
		expect(idsIn((await list({ userId }, producer)).items)).toEqual([showId(mine)]);
		expect(await producer("GET", "/v1/failures?producer=other")).toMatchObject({
			status: 403,
			body: { code: "FORBIDDEN" },
		});
		expect(await redrive([theirs], producer)).toEqual([{ id: showId(theirs), result: "unknown" }]);
		expect(await shards.slot(theirs)).toMatchObject({ outcome: "failed" });
		const byFilter = await producer("POST", "/v1/failures/redrive", { filter: { userId } });
		expect(byFilter.body.results).toEqual([{ id: showId(mine), result: "stored" }]);
		const refused = await producer("POST", "/v1/failures/redrive", { filter: { producer: "other" } });
		expect(refused).toMatchObject({ status: 403 });
		const customer = restClient(urlOf(edge), await system.tokenOf(userId));
		expect(await customer("GET", `/v1/failures?userId=${userId}`)).toMatchObject({ status: 403 });
	});

	test.each([
		["an unknown field", "colour=red", "VALIDATION_FAILED"],
		["an unknown cause", "code=BAD_LUCK", "VALIDATION_FAILED"],
		["a page that is too long", "limit=101", "VALIDATION_FAILED"],
		["a cursor of its own making", "cursor=abc", "BROKEN_CURSOR"],
	])("refuses %s", async (_, query, code) => {
		expect((await operator("GET", `/v1/failures?${query}`)).body).toMatchObject({ code });
	});

	test("is also answered over the bus", async () => {
		const other = await system.run("shard.router");
		const userId = nobody();
		const id = await plant({ userId });
		await other.waitForServices("alarm.query");
		const auth = system.keys.opsKey;
		const page = await call(other, "alarm.query.failures", { userId }, { meta: { auth } });
		expect(idsIn(page.items)).toEqual([showId(id)]);
	});
});

describe("every list", () => {
	const reads: [what: string, query: () => object, mostExamined: number][] = [
		["the newest", () => ({ limit: 5 }), 6],
		["what follows a cursor", () => ({ limit: 5, cursor }), 7],
		// Of the clustered tree, whose scan may look at a neighbour on either side.
		["one customer's", () => ({ userId: owner }), 3],
	];
	let cursor = "";
	let owner = "";

	test.each(reads)("(%s) is one bounded scan per shard", async (_, query, mostExamined) => {
		owner = nobody();
		await plantMany(400, { failedAt: realNow(), slot: null });
		await plant({ userId: owner });
		cursor = (await list({ limit: 10 })).nextCursor ?? "";
		const sent = await sentBy(() => list(query()));
		expect(sent.length).toBeGreaterThan(0);
		for (const { database, command } of sent) {
			const { maxTimeMS: _limit, ...plain } = command;
			const on = shards.cluster(await clusterOfDatabase(database)).db(database);
			const { executionStats } = await on.command({ explain: plain, verbosity: "executionStats" });
			expect(executionStats.totalDocsExamined).toBeLessThanOrEqual(mostExamined);
			expect(executionStats.totalDocsExamined).toBeLessThan(await on.collection("failures").countDocuments());
			expect(command).toMatchObject({ singleBatch: true, collectionUUID: expect.anything(), projection: { item: 0 } });
		}
	});

	async function sentBy(deed: () => Promise<unknown>) {
		const { clusters } = edge.getLocalService("alarm.query") as unknown as { clusters: Clusters };
		const sent: { database: string; command: Record<string, unknown> }[] = [];
		const undo = [...clusters.service.values()].map((cluster) => record(cluster, sent));
		await deed();
		for (const one of undo) one();
		return sent;
	}

	function record(cluster: Cluster, sent: { database: string; command: Record<string, unknown> }[]): () => void {
		const read = cluster.read.bind(cluster);
		cluster.read = (database, command) => {
			if (command.find === "failures") sent.push({ database, command });
			return read(database, command);
		};
		return () => {
			cluster.read = read;
		};
	}

	async function clusterOfDatabase(database: string): Promise<string> {
		return (await shards.map()).shards[Number(database.slice("alarm_s".length))]?.cluster ?? "";
	}
});

describe("the export", () => {
	const download = async (query: object) => {
		const reply = await fetch(`${urlOf(edge)}/v1/failures/export?${new URLSearchParams({ ...query })}`, {
			headers: { authorization: `Bearer ${system.keys.opsKey}` },
		});
		return { status: reply.status, headers: reply.headers, bytes: Buffer.from(await reply.arrayBuffer()) };
	};

	test("is a CSV file that a spreadsheet opens, without content and without formulas", async () => {
		const [userId, sender] = [nobody(), `=cmd|${randomUUID()}`];
		const id = await plant({ userId, sender });
		const { status, headers, bytes } = await download({ userId });
		expect(status).toBe(200);
		expect(headers.get("content-type")).toBe("text/csv; charset=utf-8");
		expect(headers.get("content-disposition")).toBe('attachment; filename="failures.csv"');
		expect(headers.get("x-next-cursor")).toBeNull();
		expect([...bytes.subarray(0, 3)]).toEqual([0xef, 0xbb, 0xbf]);
		const text = bytes.toString();
		expect(text.split("\r\n")).toHaveLength(3);
		expect(text).toContain(`${showId(id)},CLOCK_SKEW,m,'${sender},${userId},card,bulk,`);
		expect(text).not.toContain("secret");
	});

	test("ends at 10,000 rows and says where it goes on", async () => {
		const sender = nobody();
		const ids = Array.from({ length: 10_003 }, (_, n) => newAlarmId(`u${n}`, realNowMs()));
		await insertRows(ids, sender);
		const first = await download({ producer: sender });
		const cursor = first.headers.get("x-next-cursor") ?? "";
		const rest = await download({ producer: sender, cursor });
		expect(rest.headers.get("x-next-cursor")).toBeNull();
		const [some, others] = [first, rest].map(({ bytes }) => idsOfCsv(bytes));
		expect(some).toHaveLength(10_000);
		expect([...(some ?? []), ...(others ?? [])].sort()).toEqual(ids.map(showId).sort());
	});

	test("of one that asks over the bus fits into a message of it, and goes on from there", async () => {
		const other = await system.run("shard.router");
		await other.waitForServices("alarm.query");
		const sender = nobody();
		const ids = Array.from({ length: 6_000 }, (_, n) => newAlarmId(`u${n}`, realNowMs()));
		await insertRows(ids, sender);
		const seen: string[] = [];
		for (let cursor: string | null = ""; cursor !== null; ) {
			const query: FailureQuery = { producer: sender, ...(cursor && { cursor }) };
			const answer: FailureExport = await call(other, "alarm.query.exportFailures", query, {
				meta: { auth: system.keys.opsKey },
			});
			expect(Buffer.byteLength(answer.csv)).toBeLessThan(1024 ** 2);
			seen.push(...idsOfCsv(Buffer.from(answer.csv)));
			cursor = answer.nextCursor;
		}
		expect(seen.sort()).toEqual(ids.map(showId).sort());
	});

	/** An id that begins with "-" carries the apostrophe that keeps it from being a formula. */
	function idsOfCsv(bytes: Buffer): string[] {
		const lines = bytes.toString().split("\r\n").slice(1, -1);
		return lines.map((line) => (line.split(",")[0] ?? "").replace(/^'/, ""));
	}

	async function insertRows(ids: Buffer[], sender: string): Promise<void> {
		const map = await shards.map();
		const failedAt = realNow();
		const rest = { code: "CLOCK_SKEW", message: "m", lane: "bulk", item: "x", failedAt, producer: sender };
		for (const [shard, some] of Map.groupBy(ids, (id) => shardOf(id, map.shards.length))) {
			const database = shards.cluster(map.shards[shard]?.cluster ?? "").db(shardDatabase(shard));
			await database.collection<{ _id: Buffer }>("failures").insertMany(some.map((_id) => ({ _id, ...rest })));
		}
	}
});

describe("a redrive", () => {
	test("stores what can be stored by now, under its own id, and takes the failure away", async () => {
		const userId = nobody();
		const id = idFor(userId, 61_000);
		await queue.put("realtime", encodeItem(id, queued(userId)).line);
		await drained();
		expect(await shards.failure(id)).toMatchObject({ code: "CLOCK_SKEW" });
		await eventually(() => idTimeMs(id) <= realNowMs() + 60_000, "the id's time no longer ahead");
		expect(await redrive([id])).toEqual([{ id: showId(id), result: "stored" }]);
		expect(await shards.slot(id)).toMatchObject({ userId, title: "secret title" });
		expect(await shards.slot(id)).not.toHaveProperty("outcome");
		expect(await shards.failure(id)).toBeNull();
		const status = await producer("GET", `/v1/alarms/${showId(id)}/status`);
		expect(status.body).toMatchObject({ status: "stored" });
	});

	test("tells of each id what became of it", async () => {
		const stored = await plant();
		const expired = await plant({ more: { expiresAt: new Date(realNowMs() - 1).toISOString() } });
		const poison = await plant({ more: { data: { a: { _bsontype: "x" } } } });
		const closed = idFor(nobody(), -400 * 86_400_000);
		await queue.put("realtime", encodeItem(closed, queued(nobody())).line);
		await drained();
		const before = await shards.failure(closed);
		const given = await plant();
		await operator("POST", "/v1/failures/discard", { ids: [showId(given)], why: "too old" });
		const fine = await plant({ slot: { userId: "x", title: "t" } });
		const never = idFor(nobody());
		expect(await redrive([stored, expired, poison, closed, given, fine, never])).toEqual([
			{ id: showId(stored), result: "stored" },
			{ id: showId(expired), result: "expired" },
			{ id: showId(poison), result: "failed", why: expect.stringMatching(/^STORE_REJECTED: /) },
			{ id: showId(closed), result: "failed", why: expect.stringMatching(/^MONTH_CLOSED: /) },
			{ id: showId(given), result: "discarded", why: "By local: too old" },
			{ id: showId(fine), result: "not_failed", why: "Its slot says stored." },
			{ id: showId(never), result: "unknown" },
		]);
		expect(await shards.slot(expired)).toMatchObject({ outcome: "expired" });
		expect(await shards.slot(poison)).toMatchObject({ outcome: "failed", why: { code: "STORE_REJECTED" } });
		expect(await shards.failure(poison)).toMatchObject({ code: "STORE_REJECTED" });
		const after = await shards.failure(closed);
		expect(after?.failedAt.getTime()).toBeGreaterThan(before?.failedAt.getTime());
		expect(await shards.slot(given)).toMatchObject({ outcome: "failed" });
	});

	test("counts its results, each kind of them", async () => {
		const ids = [...(await plantMany(3, {})), idFor(nobody())].map(showId);
		const { body } = await operator("POST", "/v1/failures/redrive", { ids });
		expect(body.counts).toEqual({
			...{ stored: 3, failed: 0, duplicate: 0, expired: 0, not_failed: 0, unknown: 1, discarded: 0, unavailable: 0 },
		});
	});

	test("fills the free slot of a month that has a collection by now", async () => {
		const userId = nobody();
		const id = idFor(userId, -800 * 86_400_000);
		await queue.put("realtime", encodeItem(id, queued(userId)).line);
		await drained();
		expect(await shards.failure(id)).toMatchObject({ code: "MONTH_CLOSED" });
		await openMonthOf(id);
		const last = await eventually(async () => {
			const [one] = await redrive([id]);
			return one?.result === "failed" ? null : one;
		}, "the edge to know of the month");
		expect(last).toMatchObject({ result: "stored" });
		expect(await shards.slot(id)).toMatchObject({ userId });
		expect(await shards.failure(id)).toBeNull();
	});

	test.each([
		["an alarm, read as it may be", { userId: "x", title: "first", readAt: new Date(0) }],
		["a duplicate", { outcome: "duplicate", of: Buffer.alloc(20) }],
		["an expired one", { outcome: "expired" }],
		["a canceled one", { outcome: "canceled" }],
	])("leaves %s as it is: a crash before the row was taken away is cleared up", async (_, slot) => {
		const id = await plant({ slot });
		const before = await shards.slot(id);
		expect(await redrive([id])).toMatchObject([{ result: "not_failed" }]);
		expect(await shards.slot(id)).toEqual(before);
		expect(await shards.failure(id)).toBeNull();
		expect(await redrive([id])).toMatchObject([{ result: "not_failed" }]);
	});

	test("by several at once makes one alarm of each, and no failure is left", async () => {
		const ids = await plantMany(30, { sender: "demo" });
		const answers = await Promise.all([operator, producer, operator, producer].map((by) => redrive(ids, by)));
		for (const [at, id] of ids.entries()) {
			const results = answers.map((answer) => answer[at]?.result);
			expect(results.filter((result) => result !== "not_failed")).toEqual(["stored"]);
			expect(await shards.slot(id)).toMatchObject({ title: "secret title" });
			expect(await shards.failure(id)).toBeNull();
		}
	});

	test("leaves an item that is in the queue once more to find its slot taken", async () => {
		const userId = nobody();
		const id = await plant({ userId });
		await redrive([id]);
		await queue.put("realtime", encodeItem(id, queued(userId, { title: "again" })).line);
		await drained();
		expect(await shards.slot(id)).toMatchObject({ title: "secret title" });
		expect(await shards.failure(id)).toBeNull();
	});

	test("by filter takes the newest up to its limit, and says when there are more", async () => {
		const sender = nobody();
		const ids: Buffer[] = [];
		for (let n = 0; n < 5; n++) ids.unshift(await plant({ sender, failedAt: new Date(1_000 + n) }));
		const byFilter = async (more: object) =>
			(await operator("POST", "/v1/failures/redrive", { filter: { producer: sender }, ...more })).body;
		const first = await byFilter({ limit: 2 });
		expect(first).toMatchObject({ more: true, counts: { stored: 2 } });
		expect(idsIn(first.results)).toEqual(ids.slice(0, 2).map(showId));
		expect(await byFilter({})).toMatchObject({ more: false, counts: { stored: 3 } });
		expect(await byFilter({})).toMatchObject({ more: false, results: [] });
	});

	test("keeps its pace, and says that there is more when its time is over", async () => {
		const slow = await system.run("gateway,alarm.query", { REDRIVE_PER_SECOND: "1" });
		const ids = await plantMany(20, {});
		const reply = await restClient(urlOf(slow), system.keys.opsKey)("POST", "/v1/failures/redrive", {
			ids: ids.map(showId),
		});
		const { results, counts, more } = reply.body;
		expect(more).toBe(true);
		expect(counts.stored).toBe(results.length);
		expect(results.length).toBeGreaterThan(0);
		const left = await Promise.all(ids.map((id) => shards.failure(id)));
		expect(left.filter((row) => row !== null)).toHaveLength(ids.length - results.length);
		expect(left.filter((row) => row !== null).length).toBeGreaterThan(10);
	});

	test.each([
		["neither ids nor a filter", {}],
		["both", { ids: [showId(newAlarmId("u", 1))], filter: {} }],
		["no ids", { ids: [] }],
		["501 ids", { ids: Array.from({ length: 501 }, () => showId(newAlarmId("u", 1))) }],
		["the same id twice", { ids: Array(2).fill(showId(newAlarmId("u", 1))) }],
		["an unknown field in its filter", { filter: { colour: "red" } }],
		["what is no id", { ids: ["x"] }],
	])("is refused with %s", async (_, body) => {
		const reply = await operator("POST", "/v1/failures/redrive", body);
		expect(reply).toMatchObject({ status: 422, body: { code: "VALIDATION_FAILED" } });
	});

	test("takes 500 ids in one request, also when it is written with spaces", async () => {
		const ids = Array.from({ length: 500 }, () => showId(newAlarmId("u", realNowMs())));
		const { body } = await operator("POST", "/v1/failures/redrive", JSON.stringify({ ids }, null, 8));
		expect(body.counts).toMatchObject({ unknown: 500 });
	});

	test("works while the queue stands still", async () => {
		const id = await plant();
		await freeze(system.servers.nats.pid);
		try {
			expect(await redrive([id])).toMatchObject([{ result: "stored" }]);
		} finally {
			thaw(system.servers.nats.pid);
		}
	});

	test("does nothing while its shard is fenced, and everything afterwards", async () => {
		const id = await plant();
		const month = await shards.inMonth(id);
		const database = shards.cluster(await clusterOf(id)).db(month.dbName);
		await database.command({ collMod: month.collectionName, validator: { $expr: false } });
		expect(await redrive([id])).toMatchObject([{ result: "unavailable", why: expect.stringContaining("moved") }]);
		expect(await shards.slot(id)).toMatchObject({ outcome: "failed" });
		await database.command({ collMod: month.collectionName, validator: {} });
		expect(await redrive([id])).toMatchObject([{ result: "stored" }]);
	});
});

describe("a discard", () => {
	test("keeps who and why, hides the failure from the list, and leaves its status failed", async () => {
		const userId = nobody();
		const id = await plant({ userId });
		const discard = async (why: string) =>
			(await operator("POST", "/v1/failures/discard", { ids: [showId(id)], why })).body.results;
		const discarded = { by: "local", why: "too old", at: expect.any(String) };
		expect(await discard("too old")).toEqual([{ id: showId(id), result: "discarded", discarded }]);
		expect(await discard("another reason")).toMatchObject([{ result: "discarded", discarded }]);
		expect((await list({ userId })).items).toEqual([]);
		expect((await list({ userId, discarded: true })).items).toMatchObject([{ id: showId(id), discarded }]);
		const status = await producer("GET", `/v1/alarms/${showId(id)}/status`);
		expect(status.body).toMatchObject({ status: "failed" });
	});

	test("is an operator's; of an id that never failed it tells so", async () => {
		const body = { ids: [showId(idFor(nobody()))], why: "x" };
		expect(await producer("POST", "/v1/failures/discard", body)).toMatchObject({ status: 403 });
		const reply = await operator("POST", "/v1/failures/discard", body);
		expect(reply.body).toMatchObject({ results: [{ result: "unknown" }], counts: { unknown: 1, discarded: 0 } });
	});

	test("needs a reason", async () => {
		const body = { ids: [showId(idFor(nobody()))], why: "  " };
		expect(await operator("POST", "/v1/failures/discard", body)).toMatchObject({ status: 422 });
	});
});

test("a cluster that is frozen is named; the rest is listed, exported and redriven", async () => {
	const sender = nobody();
	const ids = await plantMany(24, { sender });
	const names = await Promise.all(ids.map(clusterOf));
	const [here, there] = ["c0", "c1"].map((name) => ids.filter((_, at) => names[at] === name)) as [Buffer[], Buffer[]];
	expect(here.length * there.length).toBeGreaterThan(0);
	await freeze(system.servers.mongods.c1?.pid ?? 0);
	try {
		const { body } = await operator("GET", `/v1/failures?producer=${sender}&limit=100`);
		expect(body.unavailable).toEqual(["c1"]);
		expect(idsIn(body.items).sort()).toEqual(here.map(showId).sort());
		const byIds = await operator("POST", "/v1/failures/redrive", { ids: ids.map(showId) });
		expect(byIds.body).toMatchObject({ more: false, counts: { stored: here.length, unavailable: there.length } });
	} finally {
		thaw(system.servers.mongods.c1?.pid ?? 0);
	}
	await eventually(async () => {
		const { body } = await operator("POST", "/v1/failures/redrive", { filter: { producer: sender } });
		return body.results.length === 0 && body.unavailable === undefined;
	}, "the rest redriven");
	for (const id of ids) expect(await shards.slot(id)).toMatchObject({ title: "secret title" });
});

test("collections that are there already get their index from the router", async () => {
	const map = await shards.map();
	const failures = map.shards.map(({ cluster }, shard) =>
		shards.cluster(cluster).db(shardDatabase(shard)).collection("failures"),
	);
	for (const one of failures) await one.dropIndexes();
	await system.run("shard.router");
	const indexed = async () => {
		const lists = await Promise.all(failures.map((one) => one.indexes()));
		return lists.every((indexes) => indexes.some(({ key }) => key.failedAt === -1 && key._id === -1));
	};
	await eventually(indexed, "the indexes");
});

test("a write to a collection that was replaced says that it has moved", async () => {
	const clusters = new Clusters(system.config);
	try {
		const target = {
			cluster: "c0",
			database: shardDatabase(0),
			collection: "failures",
			uuid: "0".repeat(32),
			tier: "service" as const,
		};
		for (const write of [
			updateOne(clusters, target, { _id: 1 }, { $set: { a: 1 } }),
			deleteOne(clusters, target, { _id: 1 }),
		]) {
			expect(isMoved(await write.catch((error: unknown) => error))).toBe(true);
		}
	} finally {
		await clusters.close();
	}
});

/** Makes a month of long ago, as an operator would who restores it. */
async function openMonthOf(id: Buffer): Promise<void> {
	const clusters = new Clusters(system.config);
	try {
		const map = await shards.map();
		const shard = shardOf(id, map.shards.length);
		const name = alarmsOf(monthOf(idTimeMs(id)));
		const cluster = clusters.at(map.shards[shard]?.cluster ?? "");
		const uuid = await ensureCollection(cluster, shardDatabase(shard), name, SHARD_CATALOG.alarms);
		const change = { shards: [{ shard, name, uuid }], clusters: [] };
		expect(await replaceDocument(clusters, MAP_ID, withChange(map, change, realNow()))).toBe(true);
	} finally {
		await clusters.close();
	}
}
