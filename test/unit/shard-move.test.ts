import type { CollectionPlace } from "../../contracts/routing.ts";
import { withLock } from "../../domain/jobs/shard-lock.ts";
import {
	copiedNames,
	movingNames,
	Outgrown,
	rejectOutgrown,
	TargetClosed,
	withMovedShard,
} from "../../domain/jobs/shard-move.ts";
import { withRetiring } from "../../domain/routing/clusters.ts";
import { firstMap } from "../../domain/routing/routing.ts";
import { NOW_MS } from "./samples.ts";

const NOW = new Date(NOW_MS);
const service = (uuid: string): CollectionPlace => ({ tier: "service", uuid });
const retained = { uuid: "s", since: NOW.toISOString(), settled: true };
const archived: CollectionPlace = { tier: "archive", uuid: "x", cluster: "a0", retained };
const empty = firstMap(2, ["c0", "c1", "c2"], NOW);
const collections = {
	users: service("u"),
	alarms_2026_11: service("m"),
	alarms_2026_08: archived,
	moves: service("v"),
};
const map = withLock(
	{
		...empty,
		shards: [
			{ cluster: "c0", collections },
			{ cluster: "c1", collections: {} },
		],
	},
	0,
	{ kind: "move", run: "r", holder: "n" },
	NOW,
);
const uuids = new Map([
	["users", "u2"],
	["alarms_2026_11", "m2"],
	["moves", "v2"],
]);
const to = { cluster: "c1", uuids };

test("months move before what is read together with them, archived ones stay, and the rows of the move itself begin anew", () => {
	expect(movingNames({ cluster: "c0", collections })).toEqual(["alarms_2026_11", "moves", "users"]);
	expect(copiedNames({ cluster: "c0", collections })).toEqual(["alarms_2026_11", "users"]);
});

test("the switch changes the address, leaves the archive where it is, and remembers what stays behind", () => {
	expect(withMovedShard(map, 0, 1, to, NOW)).toMatchObject({
		version: map.version + 1,
		shards: [
			{
				cluster: "c1",
				collections: {
					users: service("u2"),
					alarms_2026_08: { tier: "archive", uuid: "x", cluster: "a0", retained: { ...retained, cluster: "c0" } },
				},
				retained: [{ cluster: "c0", epoch: 1, settled: false }],
			},
			{ cluster: "c1" },
		],
	});
	expect(map.shards[0]?.cluster).toBe("c0");
});

test("nobody switches on another's duty, to a cluster that is being retired, or what he has not copied", () => {
	expect(withMovedShard(map, 0, 2, to, NOW)).toBeNull();
	const retiring = withRetiring(map, "c2", "olga", NOW) ?? map;
	expect(() => withMovedShard(retiring, 0, 1, { ...to, cluster: "c2" }, NOW)).toThrow(TargetClosed);
	const fewer = { ...to, uuids: new Map([["users", "u2"]]) };
	expect(() => withMovedShard(map, 0, 1, fewer, NOW)).toThrow(Outgrown);
});

test("a collection that was made, or whose time is over, is named", () => {
	const place = { cluster: "c0", collections };
	expect(() => rejectOutgrown(place, [...uuids.keys()], 0)).not.toThrow();
	expect(() => rejectOutgrown(place, ["moves", "users"], 0)).toThrow("alarms_2026_11 was made or dropped");
	expect(() => rejectOutgrown(place, [...uuids.keys(), "keys_2026_11_20"], 0)).toThrow("keys_2026_11_20");
});
