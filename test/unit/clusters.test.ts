import type { RoutingMap } from "../../contracts/routing.ts";
import { sameHosts, shownAddress, weakConcern } from "../../domain/routing/cluster-address.ts";
import {
	addressConflict,
	checkAddress,
	isOpen,
	judgeAddition,
	shownMap,
	TELLING_MS,
	waysOfMap,
	withAddress,
	withoutCluster,
	withRetiring,
} from "../../domain/routing/clusters.ts";

const NOW = new Date("2026-11-22T12:00:00Z");
const none = { collections: {} };

function mapWith(clusters: RoutingMap["clusters"], more: Partial<RoutingMap> = {}): RoutingMap {
	return { version: 7, changedAt: "", shards: [{ cluster: "c0", collections: {} }], clusters, ...more };
}
const given = new Map([["c0", "mongodb://h0:1/?replicaSet=r0"]]);
const system = { given, archive: new Set(["a0"]) };
const map = mapWith({ c0: none, c1: none, c4: { ...none, uri: "mongodb://u:p@h4:1", member: "m" } });

describe("an address", () => {
	test("is shown without user, password and options", () => {
		expect(shownAddress("mongodb://u:p%40@h1:1,h2:2/db?tlsCertificateKeyFilePassword=x")).toBe("mongodb://h1:1,h2:2");
		expect(shownAddress("mongodb://u:p@ss@h1/?x=a@b")).toBe("mongodb://h1");
		expect(shownAddress("mongodb+srv://u:p@h?x=1")).toBe("mongodb+srv://h");
	});

	test("is the same as one with the same hosts, in whichever order, by whichever user", () => {
		expect(sameHosts("mongodb://u:p@H1,h2:2/?x=1", "mongodb://h2:2,h1:27017")).toBe(true);
		expect(sameHosts("mongodb://h1:1", "mongodb://h1:2")).toBe(false);
		expect(sameHosts("mongodb+srv://h1", "mongodb+srv://h1/?x")).toBe(true);
	});

	test("that asks for less than majority and journal is told why it is too weak", () => {
		expect(weakConcern("mongodb://h/?w=1")).toContain("w=1");
		expect(weakConcern("mongodb://h/?journal=false")).toContain("journal=false");
		expect(weakConcern("mongodb://h/?w=majority")).toBeNull();
	});

	test.each(["mongodb://", "http://h", "mongodb://h h", "h:1", "mongodb://?x"])("is refused: %s", (uri) => {
		expect(() => checkAddress("c4", uri)).toThrow();
	});

	test.each(["C4", "4c", "c_4", "", "c4567890123456789"])("is refused with the name %s", (name) => {
		expect(() => checkAddress(name, "mongodb://h")).toThrow();
	});
});

describe("adding a cluster", () => {
	test.each([
		["one that nobody knows", "c5", "mongodb://h5:1", "new"],
		["one of the environment, as it is there", "c0", "mongodb://other:user@h0:1", "known"],
		["one of the map, as it is there", "c4", "mongodb://u:p@h4:1", "known"],
		["one of the map with another password", "c4", "mongodb://u:q@h4:1", "readdressed"],
		["one of the map with other hosts", "c4", "mongodb://u:p@h9:1", "readdressed"],
	])("%s", (_, name, uri, expected) => {
		expect(judgeAddition(map, system, { name, uri })).toBe(expected);
	});

	test.each([
		["a name of the environment with other hosts", "c0", "mongodb://h5:1", "CLUSTER_NAME_TAKEN"],
		["a name of an environment that is not ours", "c1", "mongodb://h5:1", "CLUSTER_NAME_TAKEN"],
		["the name of an archive cluster", "a0", "mongodb://h5:1", "CLUSTER_NAME_TAKEN"],
		["the name that the meta database has in messages", "meta", "mongodb://h5:1", "CLUSTER_NAME_TAKEN"],
		["hosts of the environment", "c5", "mongodb://h0:1", "CLUSTER_KNOWN"],
		["hosts of the map", "c5", "mongodb://h4:1", "CLUSTER_KNOWN"],
	])("is refused for %s", (_, name, uri, type) => {
		expect(() => judgeAddition(map, system, { name, uri })).toThrow(expect.objectContaining({ type }));
	});

	test("takes back one that is being retired, and makes one anew that was retired", () => {
		const retiring = mapWith({ c0: { ...none, retiring: "x" }, c1: none });
		expect(judgeAddition(retiring, system, { name: "c0", uri: "mongodb://h0:1" })).toBe("returned");
		const retired = mapWith({ c1: none }, { retired: { c0: "x" } });
		expect(judgeAddition(retired, system, { name: "c0", uri: "mongodb://h0:1" })).toBe("new");
		expect(withAddress(retiring, "c0", "mongodb://h0:1", NOW).clusters.c0).toEqual(none);
	});
});

describe("an environment", () => {
	test("may name a cluster of the map with the same hosts, and no others", () => {
		expect(addressConflict(map, new Map([["c4", "mongodb://else@h4:1"]]))).toBeNull();
		expect(addressConflict(map, new Map([["c4", "mongodb://u:secret@h5:1"]]))).toMatch(/^((?!secret).)*$/);
		expect(addressConflict(map, given)).toBeNull();
	});
});

test("a map is shown without passwords, and stays as it is", () => {
	expect(shownMap(map).clusters.c4?.uri).toBe("mongodb://h4:1");
	expect(map.clusters.c4?.uri).toContain("u:p");
});

describe("a cluster that is to be retired", () => {
	const marked = withRetiring(map, "c4", "olga", NOW) as RoutingMap;

	test("is marked once, and then takes nothing new", () => {
		expect(marked.clusters.c4?.retiring).toBe(NOW.toISOString());
		expect([isOpen(map, "c4"), isOpen(marked, "c4")]).toEqual([true, false]);
		expect(withRetiring(marked, "c4", "olga", NOW)).toBeNull();
	});

	test("waits until every process has been told, and for what is kept there for its grace time", () => {
		expect(waysOfMap(marked, "c4", NOW.getTime() + TELLING_MS - 1)).toHaveLength(1);
		expect(waysOfMap(marked, "c4", NOW.getTime() + TELLING_MS)).toEqual([]);
		const retained = { uuid: "", cluster: "c4", since: "", settled: true };
		const shards: RoutingMap["shards"] = [
			{
				cluster: "c0",
				collections: { alarms_2026_08: { tier: "archive", uuid: "", retained } },
				retained: [{ cluster: "c4", epoch: 3, since: "", settled: false }],
			},
		];
		const ways = waysOfMap({ ...marked, shards }, "c4", NOW.getTime() + TELLING_MS);
		expect(ways).toEqual([
			expect.stringContaining("shard 0 was moved away"),
			expect.stringContaining("alarms_2026_08"),
		]);
	});

	test("leaves the map only with its mark and without a shard, and its name is kept", () => {
		expect(withoutCluster(map, "c4", NOW)).toBeNull();
		expect(withoutCluster({ ...marked, shards: [{ cluster: "c4", collections: {} }] }, "c4", NOW)).toBeNull();
		const next = withoutCluster(marked, "c4", NOW) as RoutingMap;
		expect([next.clusters.c4, next.retired, next.version]).toEqual([undefined, { c4: NOW.toISOString() }, 9]);
		expect(isOpen(next, "c4")).toBe(false);
	});
});
