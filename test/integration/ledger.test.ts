import type { RoutingMap } from "../../contracts/routing.ts";
import { type LedgerRow, writeLedger } from "../../stores/alarms/ledger.ts";
import { CircuitBreakers } from "../../stores/mongo/circuit-breakers.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { ensureCollections, ensureMap } from "../../stores/routing/provision.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { realNow, realNowMs } from "../support/now.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";

let servers: TestServers;
let clusters: Clusters;
let map: RoutingMap;

beforeAll(async () => {
	servers = await startServers(["c0", "c1"]);
	clusters = new Clusters(configOf(servers));
	({ map } = await ensureCollections(clusters, await ensureMap(clusters, 2, realNow()), realNow()));
});
afterAll(async () => {
	await clusters?.close();
	await servers?.stop();
});

const counts = { stored: 1, duplicate: 0, failed: 0, parked: 0 };
let rows = 0;
const row = (): LedgerRow => ({
	epoch: "test",
	number: ++rows,
	lane: "realtime",
	ids: [Buffer.alloc(20)],
	counts,
	publishedAtMs: realNowMs(),
});

test("a cluster that does not take the ledger in time is asked last the next time", async () => {
	const breaker = new CircuitBreakers().ofRounds.realtime;
	const write = () => writeLedger({ clusters, breaker }, map, [row()], realNowMs());
	await freeze(servers.mongods.c0?.pid ?? 0);
	try {
		await write();
		expect(["c0", "c1"].map(breaker.isPromising)).toEqual([false, true]);
	} finally {
		thaw(servers.mongods.c0?.pid ?? 0);
	}
});

test("putting clusters in order takes nobody's trial", async () => {
	const { realtime } = new CircuitBreakers().ofRounds;
	realtime.recordFailure("c0");
	const tried: string[] = [];
	const breaker = { ...realtime, mayTry: (cluster: string) => tried.push(cluster) > 0 };
	await writeLedger({ clusters, breaker }, map, [row()], realNowMs());
	expect(tried).toEqual([]);
});
