import type { Document } from "mongodb";
import { checkCompatibility, type TrialCluster } from "../../stores/clusters/compatibility-check.ts";
import { Cluster } from "../../stores/mongo/cluster.ts";
import { startServers, type TestServers } from "../support/servers.ts";

/** What a server does not do as it must is found by trying it out: a real one, and ways to it that take something away. */

let servers: TestServers;
let cluster: Cluster;

beforeAll(async () => {
	servers = await startServers(["c0"]);
	cluster = new Cluster("c0", servers.mongods.c0?.uri ?? "");
});
afterAll(async () => {
	await cluster?.close();
	await servers?.stop();
});

/** The real server, but for what `change` makes of a command. */
function through(change: (command: Document) => Document): TrialCluster {
	return {
		name: "c0",
		command: (database, command) => cluster.command(database, change(command)),
		watch: (...args) => cluster.watch(...args),
	};
}

function without(command: Document, field: string): Document {
	const { [field]: _taken, ...rest } = command;
	return rest;
}

const databases = async () => {
	const reply = await cluster.command("admin", { listDatabases: 1, nameOnly: true });
	return (reply.databases as { name: string }[]).map(({ name }) => name).filter((name) => name.startsWith("alarm"));
};

test("a mongod of a replica set does all, and nothing is left behind", async () => {
	expect(await checkCompatibility(cluster)).toBeNull();
	expect(await databases()).toEqual([]);
});

test.each(["insert", "find", "aggregate", "update", "delete"])("a %s whose UUID is ignored", async (verb) => {
	const deaf = through((command) => (verb in command ? without(command, "collectionUUID") : command));
	expect(await checkCompatibility(deaf)).toContain(`does not keep to collectionUUID in ${verb}`);
	expect(await databases()).toEqual([]);
});

test("a validator that is ignored", async () => {
	const deaf = through((command) => ("validator" in command ? { ...command, validator: {} } : command));
	expect(await checkCompatibility(deaf)).toContain("does not keep to a validator");
});

test("a command that is refused", async () => {
	const strict = through((command) =>
		"aggregate" in command ? { ...command, pipeline: [{ $nonsense: 1 }] } : command,
	);
	expect(await checkCompatibility(strict)).toMatch(/collectionUUID in aggregate|refuses aggregate/);
});

test("changes that come late, as those of a mongos with a quiet shard", async () => {
	const late = {
		...through((command) => command),
		watch: (...args: Parameters<Cluster["watch"]>) =>
			cluster.watch(args[0], [{ $match: { "ns.coll": "never" } }], args[2]),
	};
	expect(await checkCompatibility(late)).toContain("periodicNoopIntervalSecs");
	expect(await databases()).toEqual([]);
});
