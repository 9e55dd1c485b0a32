import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { LocalCredentials } from "../../ops/credentials.ts";
import { setUp } from "../../ops/system.ts";
import { eventually } from "../support/eventually.ts";
import { freeze, thaw } from "../support/freeze.ts";
import { type ServiceProcess, startProcess } from "../support/processes.ts";
import { type Rest, restClient } from "../support/rest.ts";
import { configOf, startServers, type TestServers } from "../support/servers.ts";

/** The record of runs lies in the meta database; a mover that starts while that is away comes up and answers. */

let servers: TestServers;
let mover: ServiceProcess;
let operator: Rest;
const metaPid = () => servers.mongods.m0?.pid ?? 0;

beforeAll(async () => {
	servers = await startServers(["c0", "m0"]);
	const { c0, m0 } = servers.mongods;
	const apart = {
		MONGO_SERVICE_URIS: `c0=${c0?.uri}`,
		MONGO_ARCHIVE_URIS: `a0=${c0?.uri}`,
		MONGO_META_URI: m0?.uri ?? "",
		LOGICAL_SHARDS: "2",
	};
	const file = join(servers.dir, "credentials.json");
	await setUp(configOf(servers, apart), file);
	const { opsKey } = JSON.parse(await readFile(file, "utf8")) as LocalCredentials;
	await freeze(metaPid());
	mover = await startProcess(servers, "mover", "gateway,archive.mover", apart);
	operator = restClient(mover.url, opsKey);
});
afterAll(async () => {
	thaw(metaPid());
	await mover?.end("SIGKILL");
	await servers?.stop();
});

test("the status has its months, and says that the runs are not known", async () => {
	const { status, body } = await operator("GET", "/v1/ops/archive");
	expect([status, body.open, body.ended]).toEqual([200, null, null]);
	expect(body.months.length).toBeGreaterThan(0);
	expect(body.months[0]).toMatchObject({ shards: { service: 2 }, rows: 0 });
});

// At the same time: some wait for as long as a record may take.
test("whatever needs the runs answers that it is unavailable", async () => {
	const asked = [
		["GET", "/v1/ops/archive/runs"],
		["GET", "/v1/ops/archive/plan"],
		["POST", "/v1/ops/archive/run"],
		["POST", "/v1/ops/archive/stop"],
	] as const;
	const replies = await Promise.all(
		asked.map(([method, path]) => operator(method, path, method === "POST" ? {} : undefined)),
	);
	expect(replies.map(({ status, body, headers }) => [status, body.code, headers.get("retry-after")])).toEqual(
		asked.map(() => [503, "UNAVAILABLE", "1"]),
	);
});

test("the runs are there as soon as the meta database is back", async () => {
	thaw(metaPid());
	await eventually(async () => (await operator("GET", "/v1/ops/archive/runs")).status === 200, "the record of runs");
	expect((await operator("GET", "/v1/ops/archive/plan")).body).toMatchObject({ due: [], refused: null });
});

test("a mover whose meta database goes away ends well all the same", async () => {
	await freeze(metaPid());
	expect(await mover.end("SIGTERM")).toBe("exit code 0");
});
