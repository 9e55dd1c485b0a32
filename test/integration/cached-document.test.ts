import { CLUSTER_DATABASE } from "../../domain/routing/collection-catalog.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { CachedDocument } from "../../stores/routing/cached-document.ts";
import { ensureDocuments, replaceDocument, type Versioned } from "../../stores/routing/versioned-documents.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { FaultProxy } from "../support/proxy.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";
import { TestShards } from "../support/shards.ts";

/** A reload gives what stood in the database when it was asked for, or something newer. */

const ID = "some-document";

let servers: TestServers;
let shards: TestShards;
let direct: Clusters;
let proxy: FaultProxy;
let far: Clusters;
let held: CachedDocument<Versioned>;
let version = 0;

beforeAll(async () => {
	servers = await startServers(["c0", "c1"]);
	shards = new TestShards(servers);
	direct = new Clusters(configOf(servers));
	await ensureDocuments(direct);
	proxy = await FaultProxy.start(Number(new URL(servers.mongods.c0?.uri ?? "").port));
	const uri = `mongodb://127.0.0.1:${proxy.port}/?directConnection=true`;
	// One place only: what it read before the change is all that there is.
	far = new Clusters(configOf(servers, { MONGO_SERVICE_URIS: `c0=${uri}`, MONGO_META_URI: uri }));
	await writeNext();
	held = new CachedDocument(far, ID, { onError: () => undefined });
});
afterAll(async () => {
	await far?.close();
	await direct?.close();
	proxy?.close();
	await shards?.close();
	await servers?.stop();
});

const writeNext = () => replaceDocument(direct, ID, { version: ++version });

/** Finds that the server has carried out. */
async function finds(): Promise<number> {
	const { metrics } = await shards.cluster("c0").db("admin").command({ serverStatus: 1 });
	return Number(metrics.commands.find.total);
}

/** A load of two finds whose answers are still on their way. */
async function inFlight(load: () => Promise<void>): Promise<[Promise<void>]> {
	const before = await finds();
	proxy.delay("toClient", 500);
	const early = load();
	await eventually(async () => (await finds()) >= before + 2, "the document read");
	return [early];
}

test("a reload that is asked for while another is in flight reads what was written in between", async () => {
	await held.reload();
	const [early] = await inFlight(() => held.reload());
	await writeNext();
	const [one, other] = [held.reload(), held.reload()];
	expect(other).toBe(one);
	await early;
	expect(held.current.version).toBe(version - 1);
	proxy.delay("toClient", 0);
	await one;
	expect(held.current.version).toBe(version);
});

test("a reload that has failed fails nobody who asks after it", async () => {
	const unsound = new CachedDocument(direct, "another-document", { onError: () => undefined });
	const failing = unsound.reload();
	await expect(failing).rejects.toMatchObject({ type: "UNAVAILABLE" });
	await replaceDocument(direct, "another-document", { version: 1 });
	await unsound.reload();
	expect(unsound.current.version).toBe(1);
});

describe("a frozen cluster", () => {
	beforeAll(() => freeze(servers.mongods.c1?.pid ?? 0));
	afterAll(() => thaw(servers.mongods.c1?.pid ?? 0));

	const silence = (clusters: Clusters) =>
		clusters
			.at("c1")
			.read(CLUSTER_DATABASE, { find: "documents" })
			.catch(() => "the driver gave up");

	test("does not hold up a reload until the driver gives it up", async () => {
		const near = new CachedDocument<Versioned>(direct, ID, { onError: () => undefined });
		const givenUp = silence(direct);
		const first = await Promise.race([givenUp, near.reload().then(() => "reloaded")]);
		expect(first).toBe("reloaded");
		expect(near.current.version).toBe(version);
	});

	test("alone, it makes a reload fail as unavailable", async () => {
		const uri = servers.mongods.c1?.uri ?? "";
		const only = new Clusters(configOf(servers, { MONGO_SERVICE_URIS: `c1=${uri}`, MONGO_META_URI: uri }));
		const alone = new CachedDocument<Versioned>(only, ID, { onError: () => undefined });
		await expect(alone.reload()).rejects.toMatchObject({ type: "UNAVAILABLE" });
		await only.close();
	});
});
