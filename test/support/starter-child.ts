import { startChild } from "../../bench/child.ts";
import { freeze } from "./freeze.ts";
import { startMover } from "./movers.ts";
import { startProcess } from "./processes.ts";
import { startServers } from "./servers.ts";

/** Starts one process of each kind as tests and benches do, freezes all but one, and then waits to be killed. */

async function main(): Promise<void> {
	const servers = await startServers(["c0", "c1"]);
	const mongods = Object.values(servers.mongods).map(({ pid }) => pid);
	const service = await startProcess(servers, "service", "alarm.query");
	const mover = startMover(servers, { shard: 0, to: "c1" });
	const bench = await startChild("burner", "bench/burner.ts", { env: { TEST_DIR: servers.dir } });
	const pids = [servers.nats.pid, ...mongods, service.pid, mover.pid, bench.pid];
	for (const pid of pids.slice(2)) await freeze(pid);
	console.log(JSON.stringify(pids));
}

void main();
