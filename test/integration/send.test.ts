import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { guard } from "../../ops/embedded/guard.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type TestSystem, urlOf } from "../support/system.ts";

const EXAMPLES = resolve("examples/alarms.ndjson");
const LINES = 300;

interface Ended {
	code: number | null;
	stdout: string;
	stderr: string;
}

let system: TestSystem;
let target: string[];

beforeAll(async () => {
	system = await startSystem();
	const edge = await system.run("gateway,alarm.create,alarm.query");
	target = ["--url", urlOf(edge), "--key", system.keys.producerKey];
});
afterAll(() => system?.stop());

function start(args: string[], env: Record<string, string> = {}) {
	const child = spawn(process.execPath, ["ops/send.ts", ...args], {
		env: { ...process.env, ...env },
		stdio: ["ignore", "pipe", "pipe"],
	});
	guard(child);
	const ended: Ended = { code: null, stdout: "", stderr: "" };
	child.stdout.on("data", (part) => (ended.stdout += part));
	child.stderr.on("data", (part) => (ended.stderr += part));
	const end = once(child, "close").then(([code]) => ({ ...ended, code: code as number | null }));
	return { child, end };
}

const send = (args: string[], env?: Record<string, string>): Promise<Ended> => start(args, env).end;

async function sendJson(...args: string[]) {
	const ended = await send([...args, ...target, "--json"]);
	return { ...ended, result: JSON.parse(ended.stdout) };
}

async function ownFile(name: string, lines: string[]): Promise<string> {
	const file = join(system.servers.dir, name);
	await writeFile(file, `${lines.join("\n")}\n`);
	return file;
}

async function exampleLines(count: number): Promise<string[]> {
	return (await readFile(EXAMPLES, "utf8")).split("\n").slice(0, count);
}

/** The same alarms with keys of their own: they are no repetition of those sent before. */
function withOwnKeys(lines: string[], prefix: string): string[] {
	return lines.map((line, at) => JSON.stringify({ ...JSON.parse(line), idempotencyKey: `${prefix}-${at}` }));
}

describe("while no worker runs", () => {
	test("alarms are accepted and stay pending until the wait is over: exit code 1", async () => {
		const file = await ownFile("pending.ndjson", withOwnKeys(await exampleLines(5), "pending"));
		const { code, result, stderr } = await sendJson(file, "--wait", "1");
		expect(result).toMatchObject({ ok: false, lines: 5, accepted: 5, stored: 0, pending: 5, missing: 0 });
		expect(result.settledAfterMs).toBeNull();
		expect(stderr).toContain("Not right: 5 still pending.");
		expect(code).toBe(1);
	});

	test("Ctrl-C ends with what is known so far", async () => {
		const file = await ownFile("stopped.ndjson", withOwnKeys(await exampleLines(5), "stopped"));
		const { child, end } = start([file, ...target, "--json"]);
		let told = "";
		child.stderr.on("data", (part) => (told += part));
		await eventually(() => told.includes("asking"), "the questions");
		child.kill("SIGINT");
		const { code, stdout } = await end;
		expect(JSON.parse(stdout)).toMatchObject({ interrupted: true, accepted: 5, missing: 0 });
		expect(code).toBe(1);
	});
});

describe("while all runs", () => {
	beforeAll(async () => {
		await system.run("alarm.consume");
	});

	const allStored = {
		...{ ok: true, wrong: [], lines: LINES, sent: LINES, accepted: LINES, stored: LINES },
		...{ rejected: 0, invalid: 0, unknown: 0, failed: 0, pending: 0, missing: 0, duplicateIds: 0 },
	};

	test("each alarm sent alone is stored: exit code 0", async () => {
		const { code, result, stderr } = await sendJson(EXAMPLES, "--limit", String(LINES));
		expect(result).toMatchObject(allStored);
		expect(result.settledAfterMs).toBeGreaterThan(result.sendingMs);
		expect(result.acceptedPerSecond).toBeGreaterThan(0);
		expect(stderr).toContain("All right: 300 of 300 lines accepted; 300 stored; none missing.");
		expect(code).toBe(0);
	});

	test("each alarm sent in bulk is stored: exit code 0", async () => {
		const file = await ownFile("bulk.ndjson", withOwnKeys(await exampleLines(LINES), "bulk"));
		const { code, result } = await sendJson(file, "--bulk", "70", "--concurrency", "2");
		expect(result).toMatchObject(allStored);
		expect(code).toBe(0);
	});

	const mixed = async (name: string) => {
		const [first = "", second = "", third = ""] = withOwnKeys(await exampleLines(3), name);
		const refused = JSON.stringify({ userId: "u1", category: "transfer", title: "no body", colour: "red" });
		const poisoned = `{"__proto__":{"a":1},"userId":"u1","category":"transfer","title":"a","body":"b"}`;
		return ownFile(`${name}.ndjson`, [first, refused, "", '{"userId":', second, poisoned, third]);
	};

	test.each([["0"], ["1000"]])("broken and refused lines are told by number, in requests of %s", async (bulk) => {
		const { code, result, stderr } = await sendJson(await mixed(`mixed-${bulk}`), "--bulk", bulk);
		expect(result).toMatchObject({ ok: false, lines: 6, sent: 5, accepted: 3, stored: 3, rejected: 2, invalid: 1 });
		const complaints = result.complaints.map(({ line, code }: { line: number; code: string }) => `${line} ${code}`);
		expect(complaints.sort()).toEqual(["2 VALIDATION_FAILED", "4 NOT_JSON", "6 BROKEN_JSON"]);
		expect(JSON.stringify(result.complaints)).toContain("colour");
		expect(stderr).toContain("Not right: 2 rejected, 1 invalid.");
		expect(code).toBe(1);
	});

	test("the table tells people the same, and the address comes from ready.json", async () => {
		const [, url, , producerKey] = target;
		await writeFile(join(system.servers.dir, "ready.json"), JSON.stringify({ url, producerKey }));
		const { code, stdout } = await send([await mixed("table")], { ALARM_RUN_DIR: system.servers.dir });
		expect(stdout).toMatch(/^ {2}accepted +3$/m);
		expect(stdout).toMatch(/^ {2}missing +0 {2}must be 0$/m);
		expect(stdout).toMatch(/^ {2}line 2: rejected VALIDATION_FAILED: .+\n {4}colour: There is no field "colour"/m);
		expect(stdout).toMatch(/Not right: 2 rejected, 1 invalid\.\n$/);
		expect(code).toBe(1);
	});
});

describe("a service in trouble", () => {
	let server: Server;
	afterEach(() => server?.close());

	/** Stands in for troubles that a real service shows only by chance. */
	async function sendTo(answers: ((res: import("node:http").ServerResponse) => void)[]) {
		server = createServer((req, res) => {
			if (req.method === "GET" && req.url === "/health/live") return res.end("{}");
			req.resume().on("end", () => answers.shift()?.(res) ?? res.destroy());
		});
		await once(server.listen(0, "127.0.0.1"), "listening");
		const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
		const file = await ownFile("trouble.ndjson", await exampleLines(1));
		const ended = await send([file, "--url", url, "--key", "k", "--json", "--wait", "0"]);
		return { ...ended, result: JSON.parse(ended.stdout) };
	}
	const json = (status: number, body: unknown, headers = {}) => {
		return (res: import("node:http").ServerResponse) => res.writeHead(status, headers).end(JSON.stringify(body));
	};

	test("is asked again only where it has accepted nothing", async () => {
		const busy = json(503, { code: "OVERLOADED", detail: "busy" }, { "retry-after": "0" });
		const { code, result } = await sendTo([
			busy,
			json(429, {}),
			json(202, { id: "a" }),
			json(200, { status: "stored" }),
		]);
		expect(result).toMatchObject({ accepted: 1, stored: 1, retries: 2 });
		expect(code).toBe(0);
	});

	test("that breaks the connection leaves the line unknown", async () => {
		const { code, result } = await sendTo([(res) => res.destroy()]);
		expect(result).toMatchObject({ sent: 1, unknown: 1, accepted: 0, retries: 0 });
		expect(code).toBe(1);
	});

	test("is asked what became of the ids it does not know about", async () => {
		const unknown = json(503, { code: "ACCEPTANCE_UNKNOWN", detail: "?", ids: ["a"] }, { "retry-after": "0" });
		const { code, result } = await sendTo([unknown, json(200, { status: "stored" })]);
		expect(result).toMatchObject({ unknown: 1, stored: 0, ofUnknown: { stored: 1 } });
		expect(code).toBe(1);
	});

	test("that has lost an accepted alarm is told so", async () => {
		const { code, result } = await sendTo([json(202, { id: "a" }), json(404, { code: "UNKNOWN_ALARM", detail: "no" })]);
		expect(result).toMatchObject({ wrong: ["1 missing"], missing: 1 });
		expect(result.complaints).toEqual([{ what: "missing", line: 1, id: "a", code: "UNKNOWN_ALARM", message: "no" }]);
		expect(code).toBe(1);
	});
});

describe("a call that cannot be meant ends with code 2 and one line", () => {
	test.each([
		["a file that is not there", () => ["none.ndjson"], "There is no file none.ndjson."],
		["a folder", () => ["examples"], "examples is a folder"],
		["no file", () => [], "missing required argument 'file'"],
		["a wrong number", () => [EXAMPLES, "--bulk", "1001"], "It must be a whole number from 0 to 1000."],
		["no running service", () => [EXAMPLES], "is the service running? npm start"],
		["nobody at the address", () => [EXAMPLES, "--url", "http://127.0.0.1:9", "--key", "k"], "(ECONNREFUSED)"],
	])("%s", async (_, args, told) => {
		const { code, stdout, stderr } = await send(args(), { ALARM_RUN_DIR: join(system.servers.dir, "nothing") });
		expect(stderr.trim().split("\n")).toEqual([expect.stringContaining(told)]);
		expect(stdout).toBe("");
		expect(code).toBe(2);
	});
});
