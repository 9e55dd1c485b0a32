import { holdsLock, lockOf, withLock, withoutLock, withPlace } from "../../domain/jobs/shard-lock.ts";
import { firstMap, monthsPresent, shardTarget, withChange } from "../../domain/routing/routing.ts";

const NOW = new Date("2026-11-22T10:00:00Z");
const base = withChange(
	firstMap(4, ["c0", "c1"], NOW),
	{ shards: [{ shard: 1, name: "alarms_2026_08", uuid: "aa" }], clusters: [] },
	NOW,
);
const taken = withLock(base, 1, { kind: "archive", run: "r1", holder: "n1" }, NOW);

test("who takes a duty raises the shard's epoch, and nobody else's", () => {
	expect(lockOf(taken, 1)).toEqual({ kind: "archive", run: "r1", holder: "n1", epoch: 1, since: NOW.toISOString() });
	expect(taken.version).toBe(base.version + 1);
	expect(lockOf(taken, 0)).toBeNull();
	expect(holdsLock(taken, 1, 1)).toBe(true);
	const again = withLock(taken, 1, { kind: "erase", run: "r2", holder: "n2" }, NOW);
	expect(holdsLock(again, 1, 1)).toBe(false);
	expect(lockOf(again, 1)?.epoch).toBe(2);
});

test("an epoch stays raised when its duty is given back", () => {
	const free = withoutLock(taken, 1, 1, NOW);
	expect(free && lockOf(free, 1)).toBeNull();
	expect(free && lockOf(withLock(free, 1, { kind: "drop", run: "r", holder: "n" }, NOW), 1)?.epoch).toBe(2);
});

test("on an epoch that is over nothing can be changed", () => {
	const over = withLock(taken, 1, { kind: "lift", run: "r2", holder: "n2" }, NOW);
	expect(withPlace(over, 1, 1, "alarms_2026_08", { tier: "archive", uuid: "bb", cluster: "a0" }, NOW)).toBeNull();
	expect(withoutLock(over, 1, 1, NOW)).toBeNull();
});

test("an archived month is found on its archive cluster, and a dropped one nowhere", () => {
	const archived = withPlace(taken, 1, 1, "alarms_2026_08", { tier: "archive", uuid: "bb", cluster: "a0" }, NOW);
	if (archived === null) throw new Error("refused");
	expect(shardTarget(archived, 1, "alarms_2026_08")).toEqual({
		cluster: "a0",
		database: "alarm_a01",
		collection: "alarms_2026_08",
		uuid: "bb",
		tier: "archive",
	});
	expect(monthsPresent(archived, 1)).toEqual(["2026_08"]);
	const dropped = withPlace(archived, 1, 1, "alarms_2026_08", { tier: "dropped", uuid: "bb", cluster: "a0" }, NOW);
	if (dropped === null) throw new Error("refused");
	expect(shardTarget(dropped, 1, "alarms_2026_08")).toBeNull();
	expect(monthsPresent(dropped, 1)).toEqual([]);
	const gone = withPlace(dropped, 1, 1, "alarms_2026_08", null, NOW);
	expect(gone?.shards[1]?.collections).toEqual({});
});
