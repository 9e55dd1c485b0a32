import { Cluster } from "../../stores/cluster.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { startServers, type TestServers } from "../support/servers.ts";

let servers: TestServers;
beforeAll(async () => {
	servers = await startServers(["c0"]);
});
afterAll(() => servers?.stop());

test("a command under way when the server stands still fails as an outage that names the cluster, whatever the driver calls it", async () => {
	const { uri = "", pid = 0 } = servers.mongods.c0 ?? {};
	const cluster = new Cluster("c0", uri);
	try {
		await cluster.command("admin", { ping: 1 });
		await freeze(pid);
		// Whichever is first ends it: the socket's timeout, or the monitor, which interrupts what is under way.
		const commands = Array.from({ length: 3 }, () => cluster.command("admin", { ping: 1 }));
		for (const one of await Promise.allSettled(commands))
			expect(one).toMatchObject({ reason: { type: "UNAVAILABLE", data: { cluster: "c0" } } });
	} finally {
		thaw(pid);
		await cluster.close();
	}
});
