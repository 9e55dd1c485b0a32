import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { customerToken, type LocalCredentials } from "../../ops/credentials.ts";
import { setUp } from "../../ops/system.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { type ServiceProcess, startProcess } from "../support/processes.ts";
import { restClient } from "../support/rest.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";

/** The map survives the loss of the meta database, also for processes that start meanwhile. */

let servers: TestServers;
let keys: LocalCredentials;
let env: Record<string, string>;
const started: ServiceProcess[] = [];
const metaPid = () => servers.mongods.m0?.pid ?? 0;
const USER = "kim";

async function start(nodeId: string, services: string): Promise<ServiceProcess> {
	const process = await startProcess(servers, nodeId, services, env);
	started.push(process);
	return process;
}

beforeAll(async () => {
	servers = await startServers(["c0", "c1"], ["c4", "m0"]);
	env = { MONGO_META_URI: servers.mongods.m0?.uri ?? "", LOGICAL_SHARDS: "2" };
	const file = join(servers.dir, "credentials.json");
	await setUp(configOf(servers, env), file);
	keys = JSON.parse(await readFile(file, "utf8")) as LocalCredentials;
});
afterAll(async () => {
	thaw(metaPid());
	for (const process of started) await process.end("SIGKILL");
	await servers?.stop();
});

const alarm = (title: string) => ({ userId: USER, category: "transfer", title, body: "B" });
const newestTitle = async (url: string) => {
	const reader = restClient(url, await customerToken(keys.signingKey, USER));
	return (await reader("GET", `/v1/users/${USER}/alarms`)).body.items?.[0]?.title;
};

test("a query edge and a creation edge that start without it serve, and a worker stores", async () => {
	const first = await start("all", "gateway,alarm.create,alarm.consume,alarm.query");
	await restClient(first.url, keys.producerKey)("POST", "/v1/alarms", alarm("before"));
	await eventually(async () => (await newestTitle(first.url)) === "before", "the first alarm");
	await first.end("SIGKILL");
	await freeze(metaPid());
	const query = await start("query", "gateway,alarm.query");
	expect(await newestTitle(query.url)).toBe("before");
	const create = await start("create", "gateway,alarm.create,alarm.consume");
	const { status } = await restClient(create.url, keys.producerKey)("POST", "/v1/alarms", alarm("meanwhile"));
	expect(status).toBe(202);
	await eventually(async () => (await newestTitle(query.url)) === "meanwhile", "the second alarm");
});

test("a change of the map is refused with what to wait for, and works when it is back", async () => {
	const router = await start("router", "gateway,shard.router");
	const operator = restClient(router.url, keys.opsKey);
	const addition = { name: "c4", uri: servers.mongods.c4?.uri };
	const refused = await operator("POST", "/v1/ops/clusters", addition);
	expect([refused.status, refused.body.code]).toEqual([503, "UNAVAILABLE"]);
	expect(refused.body.detail).toContain("the routing map cannot be changed until it is back");
	expect((await operator("GET", "/v1/ops/map")).body.clusters.c4).toBeUndefined();
	thaw(metaPid());
	// What the first attempt has made there already is taken for what it is.
	await eventually(async () => (await operator("POST", "/v1/ops/clusters", addition)).status < 300, "the addition");
	expect((await operator("GET", "/v1/ops/map")).body.clusters.c4).toBeDefined();
});
