import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { firstThatWorks, type Step } from "../../ops/embedded/chain.ts";
import { output } from "../../ops/embedded/command.ts";
import { findServer, stepsFor } from "../../ops/embedded/find.ts";
import { checkSum } from "../../ops/embedded/wheel.ts";

const fails = (name: string, why: string): Step<string> => ({ name, attempt: () => Promise.reject(new Error(why)) });
const works = (name: string): Step<string> => ({ name, attempt: async () => name });

test("steps are tried in their order, each failure says why, and nothing is tried after the one that works", async () => {
	const said: string[] = [];
	const steps = [fails("a", "no\nnot at all"), fails("b", "nor here"), works("c"), fails("d", "never asked")];
	expect(await firstThatWorks("mongod", steps, (line) => said.push(line))).toBe("c");
	expect(said).toEqual(["mongod: a: no", "mongod: b: nor here"]);
});

test("servers are looked for on PATH, in the cache, at their makers and on PyPI", () => {
	const names = stepsFor("mongod", { runDir: "/x", say: () => undefined }).map(({ name }) => name);
	expect(names).toEqual(["PATH", "cache in /x/bin", "official download", "PyPI"]);
});

test("when no step works, the error names what to install", async () => {
	const options = { runDir: "/x", say: () => undefined, steps: [fails("a", "no")] };
	await expect(findServer("mongod", options)).rejects.toThrow(/MongoDB 6.0 or newer/);
	await expect(findServer("nats-server", options)).rejects.toThrow(/NATS_URL/);
});

test("a stop is not taken for a failure of the last step", async () => {
	const signal = AbortSignal.abort();
	const options = { runDir: "/x", say: () => undefined, steps: [fails("a", "no")], signal };
	await expect(findServer("mongod", options)).rejects.toThrow(signal.reason);
});

describe("with a folder", () => {
	let dir: string;
	beforeEach(async () => {
		dir = await mkdtemp(path.join(tmpdir(), "find-"));
	});
	afterEach(() => rm(dir, { recursive: true }));

	test("a file with another sha256 than the pinned one is refused", async () => {
		const file = path.join(dir, "a.whl");
		await writeFile(file, "hello");
		const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
		await expect(checkSum(file, hello)).resolves.toBeUndefined();
		await writeFile(file, "hullo");
		await expect(checkSum(file, hello)).rejects.toThrow("refused");
	});

	test.each([
		["mongod", "db version v5.0.20", "version 5.0.20 is too old"],
		["nats-server", "nats-server: v2.9.1", "version 2.9.1 is too old"],
		["mongod", "something else", "does not say"],
	] as const)("a cached %s that answers %s is passed over", async (server, answer, why) => {
		await fakeBinary(server, answer);
		const step = stepsFor(server, { runDir: dir, say: () => undefined })[1];
		await expect(step?.attempt()).rejects.toThrow(why);
	});

	test("a cached mongod that runs and is new enough is used", async () => {
		const file = await fakeBinary("mongod", "db version v6.0.5");
		expect(await stepsFor("mongod", { runDir: dir, say: () => undefined })[1]?.attempt()).toBe(file);
	});

	async function fakeBinary(name: string, answer: string): Promise<string> {
		await mkdir(path.join(dir, "bin"));
		const file = path.join(dir, "bin", name);
		await writeFile(file, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
		return file;
	}
});

test("a command that makes no progress is ended and says so", async () => {
	await expect(output("sleep", ["60"], { limitMs: 10_000, stallMs: 300 })).rejects.toThrow("no progress for 0.3 s");
	await expect(output("sleep", ["60"], { limitMs: 300 })).rejects.toThrow("not done within 0.3 s");
});

test("a command that is not there says so", async () => {
	await expect(output("no-such-command", [], { limitMs: 1_000 })).rejects.toThrow("cannot be run");
});
