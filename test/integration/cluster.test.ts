import { Cluster } from "../../stores/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { startServers, type TestServers } from "../support/servers.ts";

let servers: TestServers;
let cluster: Cluster;
const pid = () => servers.mongods.c0?.pid ?? 0;

beforeAll(async () => {
	servers = await startServers(["c0"]);
	cluster = new Cluster("c0", servers.mongods.c0?.uri ?? "");
});
afterAll(async () => {
	thaw(pid());
	await cluster?.close();
	await servers?.stop();
});

test("a cluster that was away when it was first asked answers once it is there", async () => {
	await freeze(pid());
	await expect(cluster.command("admin", { ping: 1 })).rejects.toMatchObject({ type: "UNAVAILABLE" });
	await expect(cluster.command("admin", { ping: 1 })).rejects.toMatchObject({ type: "UNAVAILABLE" });
	thaw(pid());
	await eventually(async () => (await cluster.command("admin", { ping: 1 })).ok === 1, "an answer");
});

test("a cluster that was there, and was away for a while, answers again", async () => {
	await freeze(pid());
	await expect(cluster.command("admin", { ping: 1 })).rejects.toMatchObject({ type: "UNAVAILABLE" });
	thaw(pid());
	await eventually(async () => (await cluster.command("admin", { ping: 1 })).ok === 1, "an answer");
});
