import type { RoutingMap } from "../../contracts/routing.ts";
import { collectionsByTier, shardsByTier } from "../../domain/routing/tiers.ts";

const place = (tier: "service" | "archive" | "dropped") => ({ tier, uuid: "" });
const map: RoutingMap = {
	version: 1,
	changedAt: "",
	clusters: {},
	shards: [
		{ cluster: "c0", collections: { alarms_2026_07: place("archive"), alarms_2026_08: place("service") } },
		{ cluster: "c0", collections: { alarms_2026_07: place("dropped"), users: place("service") } },
	],
};

test("months are counted by tier, newest first, and other collections are not", () => {
	expect([...shardsByTier(map)]).toEqual([
		["2026_08", { service: 1, moving: 0, archive: 0, dropped: 0 }],
		["2026_07", { service: 0, moving: 0, archive: 1, dropped: 1 }],
	]);
	expect(collectionsByTier(map)).toEqual({ service: 1, moving: 0, archive: 1, dropped: 1 });
});
