import type { MapChangeRow } from "../../contracts/shards.ts";
import { withLock, withoutLock, withPlace } from "../../domain/jobs/shard-lock.ts";
import { withMovedShard, withRetained } from "../../domain/jobs/shard-move.ts";
import { describeChange, withGaps } from "../../domain/routing/map-history.ts";
import { firstMap, nextVersion, withChange } from "../../domain/routing/routing.ts";
import { NOW_MS } from "./samples.ts";

const NOW = new Date(NOW_MS);
const empty = firstMap(4, ["c0", "c1"], NOW);
const made = {
	shards: [0, 1, 2, 3].map((shard) => ({ shard, name: "alarms_2026_11", uuid: `u${shard}` })),
	clusters: [{ cluster: "c0", name: "ledger_2026_11_22", uuid: "l" }],
};
const map = withChange(empty, made, NOW);
const taken = withLock(map, 2, { kind: "move", run: "move-s02-c1", holder: "mover-1" }, NOW);
const moved = withMovedShard(taken, 2, 1, { cluster: "c1", uuids: new Map([["alarms_2026_11", "n"]]) }, NOW) ?? taken;
const settled = withRetained(moved, 2, 1, { epoch: 1, settled: true }, NOW) ?? moved;
const dropped = withRetained(settled, 2, 1, { epoch: 1, settled: null }, NOW) ?? settled;
const free = withoutLock(dropped, 2, 1, NOW) ?? dropped;
const place = (tier: "moving" | "archive") => ({ tier, uuid: "x", ...(tier === "archive" && { cluster: "a0" }) });
const moving = withPlace(taken, 2, 1, "alarms_2026_11", place("moving"), NOW) ?? taken;
const archived = withPlace(moving, 2, 1, "alarms_2026_11", place("archive"), NOW) ?? moving;
const added = { ...map, version: 9, clusters: { ...map.clusters, c4: { collections: {}, by: "ops" } } };
const withC4 = (place: object) => ({
	...added,
	clusters: { ...added.clusters, c4: { collections: {}, by: "ops", ...place } },
});
const retiring = withC4({ retiring: NOW.toISOString(), retiringBy: "olga" });

test.each([
	["the first map", null, empty, { kind: "set up", what: "4 shards over c0, c1", by: "writer", run: null }],
	[
		"collections that were made",
		empty,
		map,
		{ kind: "collections", what: "made alarms_2026_11 (4), ledger_2026_11_22" },
	],
	[
		"collections that are gone",
		map,
		empty,
		{ kind: "collections", what: expect.stringContaining("without alarms_2026_11 (4)") },
	],
	[
		"a duty that is taken",
		map,
		taken,
		{ kind: "duty", what: "shard 2 is mover-1's for move", by: "mover-1", run: "move-s02-c1" },
	],
	[
		"a duty that is given back",
		dropped,
		free,
		{ kind: "duty", what: "shard 2 is free again after move", run: "move-s02-c1" },
	],
	[
		"a switch",
		taken,
		moved,
		{ kind: "moved", what: "shard 2 moved from c0 to c1", shards: [2], by: "mover-1", run: "move-s02-c1" },
	],
	["a move that is settled", moved, settled, { kind: "settled", what: expect.stringContaining("nothing reached c0") }],
	[
		"what was left and is gone",
		settled,
		dropped,
		{ kind: "settled", what: "shard 2 has nothing more on c0: it was dropped" },
	],
	["a month on its way", taken, moving, { kind: "collections", what: "shard 2 alarms_2026_11: service to moving" }],
	[
		"a month in the archive",
		moving,
		archived,
		{ kind: "archived", what: "shard 2 alarms_2026_11: moving to archive on a0" },
	],
	["a cluster that came", map, added, { kind: "cluster", what: "c4 was added", by: "ops" }],
	["a cluster that is to go", added, retiring, { kind: "cluster", what: "c4 is being retired", by: "olga" }],
	["a cluster that went", retiring, map, { kind: "cluster", what: "c4 was retired", by: "olga" }],
	[
		"a cluster that has moved",
		withC4({ uri: "mongodb://here/" }),
		withC4({ uri: "mongodb://there/" }),
		{ kind: "cluster", what: "c4 has another address", by: "writer" },
	],
	[
		"a version that changes nothing",
		taken,
		nextVersion(taken, NOW),
		{ kind: "duty", what: expect.stringContaining("made sure that its duty stands") },
	],
])("%s is told by the two versions of the map", (_name, before, next, told) => {
	expect(describeChange(before, next, "writer")).toMatchObject({ version: next.version, ...told });
});

test("versions that nobody has told of are shown as unknown where they are missing", () => {
	const row = (version: number): MapChangeRow => ({
		version,
		at: NOW.toISOString(),
		by: "a",
		run: null,
		kind: "duty",
		what: "x",
		shards: [],
	});
	expect(withGaps([row(9), row(8), row(5), row(3)]).map(({ version, kind, what }) => [version, kind, what])).toEqual([
		[9, "duty", "x"],
		[8, "duty", "x"],
		[7, "unknown", expect.stringContaining("versions 6 to 7")],
		[5, "duty", "x"],
		[4, "unknown", expect.stringContaining("version 4:")],
		[3, "duty", "x"],
	]);
	expect(withGaps([])).toEqual([]);
});
