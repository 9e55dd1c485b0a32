import { idTimeMs, newAlarmId, shardOf, showId, userHash } from "../../domain/alarms/ids.ts";
import type { AlarmRow, Slot } from "../../domain/alarms/rows.ts";
import { addMonths, daysBefore, monthEndMs, monthOf, monthStartMs } from "../../domain/time/periods.ts";
import type { HasRouting } from "../../mixins/routing.mixin.ts";
import { readInbox } from "../../stores/alarms/inbox.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { archiveMonth, dropMonth, restoreMonth } from "../support/archived.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNow, realNowMs } from "../support/now.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { TestShards } from "../support/shards.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

/** One inbox over both tiers. Months are put into the archive by hand; the query edge hears of it as it may. */

const NOW_MS = realNowMs();
const [thisMonth, lastMonth, archived, oldest] = [0, -1, -2, -3].map((at) => addMonths(monthOf(NOW_MS), at)) as [
	string,
	string,
	string,
	string,
];

let system: TestSystem;
let shards: TestShards;
let clusters: Clusters;
let inbox: Rest;
let producer: Rest;
let query: HasRouting;
/** Reads that the query edge has sent to the archive. */
let archiveReads = 0;

beforeAll(async () => {
	const since = new Date(monthStartMs(oldest));
	system = await startSystem({ LOGICAL_SHARDS: "2" }, { names: ["c0", "c1", "a0"], since });
	shards = new TestShards(system.servers);
	clusters = new Clusters(system.config);
	const broker = await system.run("gateway,alarm.query");
	query = broker.getLocalService("alarm.query") as unknown as HasRouting;
	countReads(query.clusters.at("a0"));
	inbox = restClient(urlOf(broker), await system.tokenOf("me"));
	producer = restClient(urlOf(broker), system.keys.producerKey);
	await fill();
});
afterAll(async () => {
	await clusters?.close();
	await shards?.close();
	await system?.stop();
});

function countReads(archive: Cluster): void {
	const read = archive.read.bind(archive);
	archive.read = (database, command) => {
		archiveReads++;
		return read(database, command);
	};
}

const rowAt = (timeMs: number, more: Partial<AlarmRow> = {}): AlarmRow => ({
	_id: newAlarmId("me", timeMs),
	userId: "me",
	category: "card",
	title: "t",
	body: "b",
	producer: "demo",
	...more,
});
const put = async (...rows: Slot[]) => {
	for (const row of rows) await (await shards.inMonth(row._id)).insertOne(row);
};
const shardOfMe = shardOf(userHash("me"), 2);
const archive = (month: string) => archiveMonth(clusters, shardOfMe, month);
const restore = (month: string) => restoreMonth(clusters, shardOfMe, month);

/** All that "me" has, newest first, and some of it on the borders of the months. */
let all: AlarmRow[];

async function fill(): Promise<void> {
	const times = [
		...[archived, lastMonth, thisMonth].flatMap((month) => [
			monthStartMs(month),
			monthStartMs(month) - 1,
			monthStartMs(month) + 1,
		]),
		...[oldest, archived, lastMonth].flatMap((month) =>
			Array.from({ length: 9 }, (_, n) => monthStartMs(month) + (n + 1) * 86_400_000),
		),
	];
	const rows = times.map((timeMs, n) =>
		rowAt(timeMs, { category: n % 3 ? "card" : "loan", ...(n % 4 === 0 && { readAt: new Date(timeMs) }) }),
	);
	await put(...rows);
	all = rows.sort((one, other) => one._id.compare(other._id));
}

const list = (query: string) => inbox("GET", `/v1/users/me/alarms?${query}`);

/** All pages, from a cursor or from the beginning; every page is well. */
async function walk(query: string, cursor: string | null = null): Promise<string[]> {
	const ids: string[] = [];
	for (let next = cursor, first = cursor === null; first || next !== null; first = false) {
		const { status, body } = await list(`${query}${next === null ? "" : `&cursor=${next}`}`);
		expect(status).toBe(200);
		ids.push(...body.items.map(({ id }: { id: string }) => id));
		next = body.nextCursor;
	}
	return ids;
}
const idsOf = (rows: AlarmRow[]) => rows.map(({ _id }) => showId(_id));

test("pages of any size go from service into the archive without a gap or a double, also under filters and within bounds", async () => {
	for (const month of [oldest, archived]) await archive(month);
	for (const limit of [1, 2, 3, 5, 8, 13, 100]) expect(await walk(`limit=${limit}`)).toEqual(idsOf(all));
	const loans = all.filter(({ category }) => category === "loan");
	const read = all.filter(({ readAt }) => readAt !== undefined);
	for (const limit of [2, 100]) {
		expect(await walk(`limit=${limit}&category=loan`)).toEqual(idsOf(loans));
		expect(await walk(`limit=${limit}&read=true`)).toEqual(idsOf(read));
	}
	const toMs = monthStartMs(archived) + 5 * 86_400_000;
	const older = all.filter(({ _id }) => idTimeMs(_id) <= toMs);
	expect(older.length).toBeGreaterThan(5);
	expect(await walk(`limit=3&to=${new Date(toMs).toISOString()}`)).toEqual(idsOf(older));
});

test("a month between two that are archived may be in service", async () => {
	await restore(archived);
	await archive(lastMonth);
	expect(await walk("limit=4")).toEqual(idsOf(all));
	await restore(lastMonth);
	await archive(archived);
	expect(await walk("limit=4")).toEqual(idsOf(all));
});

test("every cursor goes on across the switch of the map, in both directions, and in the moment between switch and rename", async () => {
	const cursors: { cursor: string; rest: string[] }[] = [];
	for (let next: string | null = null, at = 0; at === 0 || next !== null; ) {
		const { body } = await list(`limit=3${next === null ? "" : `&cursor=${next}`}`);
		at += body.items.length;
		next = body.nextCursor;
		if (next !== null) cursors.push({ cursor: next, rest: idsOf(all).slice(at) });
	}
	expect(cursors.length).toBeGreaterThan(8);
	const goOn = async () => {
		for (const { cursor, rest } of cursors) expect(await walk("limit=5", cursor)).toEqual(rest);
	};
	await restore(archived);
	await goOn();
	await archiveMonth(clusters, shardOfMe, archived, goOn);
	await goOn();
	await archive(lastMonth);
	await goOn();
	await restore(lastMonth);
	await goOn();
});

describe("what is archived", () => {
	const one = () => all.find(({ _id }) => monthOf(idTimeMs(_id)) === archived) as AlarmRow;
	const at = (row: { _id: Buffer }) => `/v1/users/me/alarms/${showId(row._id)}`;

	test("is read one by one, with what the owner has read", async () => {
		const rows = all.filter(({ _id }) => monthOf(idTimeMs(_id)) === archived);
		for (const row of rows) {
			const { status, body } = await inbox("GET", at(row));
			expect([status, body.id, body.read]).toEqual([200, showId(row._id), row.readAt !== undefined]);
		}
	});

	test("is neither marked nor hidden, and says what still works", async () => {
		for (const reply of [
			await inbox("PATCH", at(one()), { read: true }),
			await inbox("PATCH", at(one()), { read: false }),
			await inbox("DELETE", at(one())),
		]) {
			expect(reply).toMatchObject({ status: 409, body: { code: "ALARM_ARCHIVED" } });
			expect(reply.body.detail).toContain("read-all");
		}
		expect(await walk("limit=100")).toEqual(idsOf(all));
	});

	test("and was never there is not found, like anything else", async () => {
		const stranger = { _id: newAlarmId("me", monthStartMs(archived) + 77) };
		for (const [method, body] of [["GET"], ["PATCH", { read: true }], ["DELETE"]] as [string, object?][])
			expect(await inbox(method, at(stranger), body)).toMatchObject({ status: 404, body: { code: "ALARM_NOT_FOUND" } });
	});

	test("and hidden before, stays hidden: hiding it again is as good, marking it finds nothing", async () => {
		await restore(archived);
		const row = rowAt(monthStartMs(archived) + 99);
		await put(row);
		expect((await inbox("DELETE", at(row))).status).toBe(204);
		await archive(archived);
		expect((await inbox("DELETE", at(row))).status).toBe(204);
		expect((await inbox("PATCH", at(row), { read: true })).status).toBe(404);
		expect((await inbox("GET", at(row))).status).toBe(404);
		expect(await walk("limit=100")).toEqual(idsOf(all));
	});

	test("has its status, whatever stands in the slot; what has none may have its failure", async () => {
		await restore(archived);
		const why = { code: "STORE_REJECTED", message: "m" };
		const base = { producer: "demo", at: realNow() };
		const startMs = monthStartMs(archived);
		const failed: Slot = { _id: newAlarmId("me", startMs + 5), outcome: "failed", why, ...base };
		const late = newAlarmId("me", startMs + 6);
		await put(failed);
		const failures = await shards.inMonth(late, "failures");
		await failures.insertOne({ _id: late, code: "MONTH_CLOSED", message: "m", producer: "demo", failedAt: realNow() });
		await archive(archived);
		const status = async (id: Buffer) => (await producer("GET", `/v1/alarms/${showId(id)}/status`)).body;
		expect(await status(one()._id)).toMatchObject({ status: "stored" });
		expect(await status(failed._id)).toMatchObject({ status: "failed", why });
		expect(await status(late)).toMatchObject({ status: "failed", why: { code: "MONTH_CLOSED" } });
		await failures.deleteOne({ _id: late });
	});

	test("does not count as unread, but is unread until read-all", async () => {
		// A mark on one of an archived month within the days of the count: only a month of the service tier counts.
		const unread = (rows: AlarmRow[]) => rows.filter(({ readAt }) => readAt === undefined).length;
		const count = async () => (await inbox("GET", "/v1/users/me/alarms/unread-count")).body.count;
		const fromMs = daysBefore(realNowMs(), system.config.serviceDays);
		const inService = (month: string) =>
			all.filter(({ _id }) => idTimeMs(_id) >= fromMs && idTimeMs(_id) > monthEndMs(month));
		expect(await count()).toBe(unread(inService(archived)));
		await archive(lastMonth);
		expect(await count()).toBe(unread(inService(lastMonth)));
		const read = async () => (await walk("limit=100&read=false")).length;
		expect(await read()).toBe(unread(all));
		await restore(lastMonth);
		expect((await inbox("POST", "/v1/users/me/alarms/read-all", {})).status).toBe(200);
		expect(await read()).toBe(0);
		const last = all.find(({ _id }) => monthOf(idTimeMs(_id)) === lastMonth && idTimeMs(_id) >= fromMs) as AlarmRow;
		expect((await inbox("PATCH", at(last), { read: false })).status).toBe(200);
		expect(await count()).toBe(1);
		await archive(lastMonth);
		// Nothing else tells this edge of the new map: it polls.
		await eventually(async () => (await count()) === 0, "the mark of an archived alarm left out");
		expect(await walk("limit=100&read=false")).toEqual([showId(last._id)]);
		await restore(lastMonth);
	});
});

describe("while the archive stands still", () => {
	const pid = () => system.servers.mongods.a0?.pid ?? 0;
	const newer = () => all.filter(({ _id }) => idTimeMs(_id) >= monthStartMs(lastMonth));
	beforeAll(async () => {
		const { version } = await shards.map();
		await eventually(() => query.routing.current.version === version, "the edge has the newest map");
		await freeze(pid());
	});
	afterAll(() => thaw(pid()));

	/** To where the archive begins. */
	async function walkDown(query: string): Promise<{ ids: string[]; cursor: string }> {
		const ids: string[] = [];
		for (let cursor = ""; ; ) {
			const { status, body } = await list(`${query}${cursor && `&cursor=${cursor}`}`);
			if (status === 503) return { ids, cursor };
			expect(body.nextCursor).not.toBeNull();
			expect(body.nextCursor).not.toBe(cursor);
			ids.push(...body.items.map(({ id }: { id: string }) => id));
			cursor = body.nextCursor;
		}
	}

	test("all that is newer is read, and the page that begins in it is refused, for now", async () => {
		for (const limit of [1, 4, 100]) {
			const { ids, cursor } = await walkDown(`limit=${limit}`);
			expect(new Set(ids)).toEqual(new Set(idsOf(newer())));
			expect(ids).toHaveLength(newer().length);
			const reply = await list(`limit=${limit}&cursor=${cursor}`);
			expect(reply).toMatchObject({ status: 503, body: { code: "ARCHIVE_UNAVAILABLE" } });
			expect(Number(reply.headers.get("retry-after"))).toBeGreaterThan(0);
		}
	});

	test("a customer who has nothing newer gets an empty page, and a cursor to where the archive begins", async () => {
		const { ids, cursor } = await walkDown("limit=5&category=nothing-of-this");
		expect(ids).toEqual([]);
		expect(cursor).not.toBe("");
	});

	test("one alarm of it, its mark and its status are refused, for now; newer ones are not", async () => {
		const old = showId(all.at(-1)?._id as Buffer);
		const away = { status: 503, body: { code: "ARCHIVE_UNAVAILABLE" } };
		expect(await inbox("GET", `/v1/users/me/alarms/${old}`)).toMatchObject(away);
		expect(await inbox("PATCH", `/v1/users/me/alarms/${old}`, { read: true })).toMatchObject(away);
		expect(await producer("GET", `/v1/alarms/${old}/status`)).toMatchObject(away);
		const recent = showId(newer()[0]?._id as Buffer);
		expect((await inbox("GET", `/v1/users/me/alarms/${recent}`)).status).toBe(200);
		expect((await producer("GET", `/v1/alarms/${recent}/status`)).status).toBe(200);
	});

	test("nobody waits for it any more: it is not even asked", async () => {
		archiveReads = 0;
		for (let n = 0; n < 50; n++) expect((await list("limit=100")).body.items).toHaveLength(newer().length);
		expect(archiveReads).toBe(0);
	});

	test("a process starts all the same", async () => {
		const broker = await system.run("gateway,alarm.query");
		const { status, body } = await restClient(urlOf(broker), await system.tokenOf("me"))(
			"GET",
			"/v1/users/me/alarms?limit=100",
		);
		expect([status, body.items.length]).toEqual([200, newer().length]);
	});

	test("once it is back, every cursor goes on", async () => {
		const { ids, cursor } = await walkDown("limit=4");
		thaw(pid());
		await eventually(async () => (await list(`limit=4&cursor=${cursor}`)).status === 200, "the archive back");
		expect([...ids, ...(await walk("limit=4", cursor))]).toEqual(idsOf(all));
	});
});

test("an archive that is not in the configuration is as one that does not answer", async () => {
	const c0 = { name: "a9", uri: system.servers.mongods.c0?.uri ?? "" };
	const others = new Clusters({ ...system.config, archiveClusters: [c0] });
	const asked = { userId: "me", limit: 100, after: null, fromMs: 0, nowMs: realNowMs() };
	const upTo = async (toMs: number) => readInbox(others, await shards.map(), { ...asked, toMs });
	try {
		const { rows, stopped } = await upTo(asked.nowMs);
		expect(rows.map(({ _id }) => _id)).toEqual(
			all.map(({ _id }) => _id).filter((id) => idTimeMs(id) >= monthStartMs(lastMonth)),
		);
		expect(stopped).toBe(true);
		await expect(upTo(monthEndMs(archived))).rejects.toMatchObject({ type: "ARCHIVE_UNAVAILABLE" });
	} finally {
		await others.close();
	}
});

test("an archive that answers wrongly refuses the start and names the setting", async () => {
	const admin = shards.cluster("a0").db("admin");
	const setDefault = (w: number | string) =>
		admin.command({ setDefaultRWConcern: 1, defaultWriteConcern: { w }, writeConcern: { w: "majority" } });
	await setDefault(1);
	try {
		await expect(system.run("alarm.query")).rejects.toThrow("a0 has the default write concern w: 1");
	} finally {
		await setDefault("majority");
	}
});

test("a month that was dropped from the archive is gone: pages end before it, and one alarm of it is not found", async () => {
	const last = all.at(-1) as AlarmRow;
	await dropMonth(clusters, shardOfMe, oldest);
	const left = all.filter(({ _id }) => idTimeMs(_id) >= monthStartMs(archived));
	expect(left.length).toBeLessThan(all.length);
	expect(await walk("limit=5")).toEqual(idsOf(left));
	expect((await inbox("GET", `/v1/users/me/alarms/${showId(last._id)}`)).status).toBe(404);
});
