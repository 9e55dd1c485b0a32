import { Cluster } from "../../stores/mongo/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { startServers, type TestServers } from "../support/servers.ts";

let servers: TestServers;
beforeAll(async () => {
	servers = await startServers(["c0"]);
});
afterAll(() => servers?.stop());

const pid = () => servers.mongods.c0?.pid ?? 0;
const UNAVAILABLE = { type: "UNAVAILABLE", data: { cluster: "c0" } };

/** A connection of its own, to a server that goes on afterwards. */
async function withCluster(deed: (cluster: Cluster) => Promise<void>): Promise<void> {
	const cluster = new Cluster("c0", servers.mongods.c0?.uri ?? "");
	try {
		await deed(cluster);
	} finally {
		thaw(pid());
		await cluster.close();
	}
}

test("a command under way when the server stands still fails as an outage that names the cluster, whatever the driver calls it", () =>
	withCluster(async (cluster) => {
		await cluster.command("admin", { ping: 1 });
		await freeze(pid());
		// Whichever is first ends it: the socket's timeout, or the monitor, which interrupts what is under way.
		const commands = Array.from({ length: 3 }, () => cluster.command("admin", { ping: 1 }));
		for (const one of await Promise.allSettled(commands)) expect(one).toMatchObject({ reason: UNAVAILABLE });
	}));

test("a cluster that was away when it was first asked answers once it is there", () =>
	withCluster(async (cluster) => {
		await freeze(pid());
		for (let asked = 0; asked < 2; asked++)
			await expect(cluster.command("admin", { ping: 1 })).rejects.toMatchObject(UNAVAILABLE);
		thaw(pid());
		await eventually(async () => (await cluster.command("admin", { ping: 1 })).ok === 1, "an answer");
	}));

test("a cluster that was there, and was away for a while, answers again", () =>
	withCluster(async (cluster) => {
		await cluster.command("admin", { ping: 1 });
		await freeze(pid());
		await expect(cluster.command("admin", { ping: 1 })).rejects.toMatchObject(UNAVAILABLE);
		thaw(pid());
		await eventually(async () => (await cluster.command("admin", { ping: 1 })).ok === 1, "an answer");
	}));
