import { readFileSync } from "node:fs";
import fc from "fast-check";
import { ID_BYTES, newAlarmId, userHash, userKey } from "../../domain/alarms/ids.ts";
import {
	hasArrived,
	isToErase,
	type OwnedRow,
	sweptOfArchive,
	sweptOfShard,
	withoutOwner,
} from "../../domain/jobs/erase.ts";
import {
	ARCHIVE_CATALOG,
	type CatalogEntry,
	CLUSTER_CATALOG,
	due,
	META_CATALOG,
	SHARD_CATALOG,
} from "../../domain/routing/collection-catalog.ts";
import { NOW_MS, SECOND_MS } from "./samples.ts";

const earlier = (ms: number) => newAlarmId("u1", NOW_MS - ms);
const later = (ms: number) => newAlarmId("u1", NOW_MS + ms);
const isErased = (kind: Parameters<typeof isToErase>[0], row: OwnedRow) => isToErase(kind, row, "u1", NOW_MS);

describe("of the rows in a customer's range", () => {
	test.each(["alarms", "retained_archive", "copy"] as const)(
		"%s lose the customer's alarms, and nobody else's",
		(kind) => {
			expect(isErased(kind, { _id: earlier(1), userId: "u1" })).toBe(true);
			expect(isErased(kind, { _id: earlier(1), userId: "u2" })).toBe(false);
		},
	);

	test("a tombstone, which does not say whose it is, goes", () => {
		expect(isErased("alarms", { _id: earlier(1), outcome: "duplicate", at: new Date(NOW_MS - 1) })).toBe(true);
	});

	test("what was accepted since the low-watermark stays", () => {
		expect(isErased("alarms", { _id: later(0), userId: "u1" })).toBe(false);
		expect(isErased("alarms", { _id: later(0), outcome: "failed", at: new Date(NOW_MS) })).toBe(false);
		expect(isErased("failures", { _id: later(0), userId: "u1", failedAt: new Date(NOW_MS) })).toBe(false);
		expect(isErased("keys", { _id: earlier(1), alarm: later(0) })).toBe(false);
	});

	test("an alarm for later goes by its acceptance, and not by the time of its id", () => {
		const forLater = later(86_400 * SECOND_MS);
		expect(isErased("alarms", { _id: forLater, userId: "u1", acceptedAt: new Date(NOW_MS - 1) })).toBe(true);
		expect(isErased("alarms", { _id: forLater, userId: "u1", acceptedAt: new Date(NOW_MS) })).toBe(false);
		expect(isErased("keys", { _id: earlier(1), alarm: forLater, acceptedAt: new Date(NOW_MS - 1) })).toBe(true);
	});

	test("what failed because its id lies ahead goes by the moment it failed", () => {
		const skewed = later(3_600 * SECOND_MS);
		expect(isErased("alarms", { _id: skewed, outcome: "failed", at: new Date(NOW_MS - 1) })).toBe(true);
		expect(isErased("failures", { _id: skewed, userId: "u1", failedAt: new Date(NOW_MS - 1) })).toBe(true);
	});

	test("a failure goes if it is the customer's, or does not say whose it is", () => {
		expect(isErased("failures", { _id: earlier(1), userId: "u1" })).toBe(true);
		expect(isErased("failures", { _id: earlier(1) })).toBe(true);
		expect(isErased("failures", { _id: earlier(1), userId: "u2" })).toBe(false);
	});

	test("the read state goes whenever it was written, and only the customer's", () => {
		expect(isErased("users", { _id: userKey("u1"), userId: "u1" })).toBe(true);
		expect(isErased("users", { _id: userKey("u1"), userId: "u2" })).toBe(false);
	});
});

describe("the collections of a shard that are swept", () => {
	test("are all that hold something of a customer, failures first", () => {
		const names = due(SHARD_CATALOG, NOW_MS).map(({ name }) => name);
		const swept = sweptOfShard([...names, "retained_archive_2026_08", "stranger", "copy_2026_08_e1"]);
		expect(swept.map(({ name }) => name)).toEqual([
			"failures",
			"alarms_2026_11",
			"alarms_2026_12",
			"alarms_2027_01",
			"retained_archive_2026_08",
			"keys_2026_11_22",
			"keys_2026_11_23",
			"keys_2026_11_24",
			"users",
		]);
	});

	test("are in the archive its months and unfinished copies, counted apart", () => {
		expect(sweptOfArchive(["copy_2026_08_e12", "alarms_2026_07"])).toEqual([
			{ name: "alarms_2026_07", kind: "alarms", label: "archived" },
			{ name: "copy_2026_08_e12", kind: "copy", label: "copy" },
		]);
	});
});

describe("a ledger row's ids without those of one customer", () => {
	const owners = fc.array(fc.constantFrom("u1", "u2", "u3"), { maxLength: 40 });

	test("are the others', in their order, and both together are as many as before", () => {
		fc.assert(
			fc.property(owners, (users) => {
				const ids = users.map((user) => newAlarmId(user, NOW_MS));
				const others = ids.filter((_, at) => users[at] !== "u1");
				const left = withoutOwner(Buffer.concat(ids), userHash("u1"));
				if (others.length === ids.length) return expect(left).toBeNull();
				expect(left).toEqual({ ids: Buffer.concat(others), erased: ids.length - others.length });
			}),
		);
	});

	test("are found at the beginning of an id only", () => {
		const id = Buffer.concat([Buffer.alloc(ID_BYTES - 8), userHash("u1")]);
		expect(withoutOwner(Buffer.concat([id, id]), userHash("u1"))).toBeNull();
	});
});

test("all has arrived once the low-watermark has passed the start and what a fast clock may have made of it", () => {
	expect(hasArrived(NOW_MS, null)).toBe(false);
	expect(hasArrived(NOW_MS, NOW_MS + 10 * SECOND_MS)).toBe(false);
	expect(hasArrived(NOW_MS, NOW_MS + 10 * SECOND_MS + 1)).toBe(true);
});

describe("docs/retention.md", () => {
	const retention = readFileSync("docs/retention.md", "utf8");
	const all: [string, Record<string, CatalogEntry>][] = [
		["shard", SHARD_CATALOG],
		["archive", ARCHIVE_CATALOG],
		["cluster", CLUSTER_CATALOG],
		["meta", META_CATALOG],
	];
	const kinds = all.flatMap(([place, catalog]) => Object.values(catalog).map(({ kind }) => [place, kind]));

	test.each(kinds)("has a row for what is kept in %s: %s", (place, kind) => {
		expect(retention).toMatch(new RegExp(`^\\| ${place} \\| \`${kind}[_\`]`, "m"));
	});
});
