import { withAddress } from "../../domain/routing/clusters.ts";
import { cancelMove } from "../../jobs/migrate/cancel-move.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import { shardSizes } from "../../jobs/plan/shard-sizes.ts";
import { retireCluster } from "../../stores/clusters/retire-cluster.ts";
import { changeMap, newestMap } from "../../stores/routing/map-change.ts";
import { type Databases, startDatabases } from "../support/databases.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { fillMonth } from "../support/months.ts";
import { moveDeps } from "../support/movers.ts";
import { realMonth, realNow, realNowMs } from "../support/now.ts";
import { rowsOn } from "../support/shard-rows.ts";

/** A cluster that a shard was moving to, and that does not answer any more. */

const MONTH = realMonth(-1);
const WORK = { run: "r", shard: 0, to: "c1" };

let databases: Databases;

beforeAll(async () => {
	databases = await startDatabases(1, MONTH);
});
afterAll(() => databases?.stop());

test("it is marked, gets nothing more, and the move to it is given up; when it is back, it can be moved to", async () => {
	const { clusters, servers, shards } = databases;
	await fillMonth(clusters, await newestMap(clusters), 0, MONTH);
	const before = await rowsOn(shards, 0, "c0");
	const deps = moveDeps(clusters, "test");
	for await (const step of moveShard(deps, WORK)) if (step === "copied") break;
	const dead = servers.mongods.c1?.pid ?? 0;
	await freeze(dead);
	try {
		expect((await shardSizes(clusters, await newestMap(clusters), realNowMs())).unavailable).toEqual(["c1"]);
		const early = cancelMove(deps, WORK);
		await early.next();
		await expect(early.next()).rejects.toMatchObject({ type: "UNAVAILABLE" });
		const { state, blockers } = await retireCluster(deps, "c1", "olga");
		expect([state, blockers]).toEqual(["retiring", [expect.stringContaining("c1 does not answer")]]);
		const late = cancelMove(deps, WORK);
		await late.next();
		expect(await late.next()).toEqual({ done: true, value: true });
	} finally {
		thaw(dead);
	}
	expect((await newestMap(clusters)).shards[0]).not.toHaveProperty("duty");
	await expect(moveShard(deps, WORK).next()).rejects.toMatchObject({ code: "CLUSTER_RETIRING" });
	await changeMap(clusters, (map) => withAddress(map, "c1", "", realNow()));
	for await (const _ of moveShard(deps, WORK));
	expect(await rowsOn(shards, 0, "c1")).toEqual(before);
}, 120_000);
