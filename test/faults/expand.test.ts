import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { guard } from "../../ops/embedded/guard.ts";
import { endOf } from "../../ops/embedded/server-process.ts";
import { eventually } from "../support/eventually.ts";

/** `npm run demo:expand`, small. */
function startDemo(...args: string[]) {
	const child = spawn(process.execPath, ["bench/demo-expand.ts", ...args], { stdio: ["ignore", "pipe", "pipe"] });
	guard(child);
	const texts = { out: "", err: "" };
	child.stdout.on("data", (chunk: Buffer) => {
		texts.out += chunk;
	});
	child.stderr.on("data", (chunk: Buffer) => {
		texts.err += chunk;
	});
	return { child, texts, ended: endOf(child) };
}

function folderIn(text: string): string | undefined {
	return /in (\S*alarm-bench-\S+)/.exec(text)?.[1];
}

/** Processes that were started with this text among their arguments or in their environment. */
function processesOf(folder: string): string[] {
	return readdirSync("/proc").filter((pid) => {
		try {
			return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
		} catch {
			return false;
		}
	});
}

test("sixteen shards on four databases become sixteen on eight under load: all accepted alarms are there, once", async () => {
	const { texts, ended } = startDemo("--quick");
	expect(`${await ended}\n${texts.err}\n${texts.out}`).toMatch(/^exit code 0\n/);
	expect(texts.err).toMatch(/the plan has 8 moves: /);
	const pictures = texts.out.match(/(^ {2}c\d .*\n?){8}/gm) ?? [];
	expect(pictures[0]).toMatch(/c0 {2}\[00\] \[04\] \[08\] \[12\]\n(?: .*\n)+ {2}c7 {2}·/);
	expect(pictures.at(-1)?.match(/^ {2}c\d {2}\[\d\d\] \[\d\d\]$/gm)).toHaveLength(8);
	expect(texts.out).toMatch(/8 shards moved in \d+ s, while \d+ creations were accepted and 0 refused/);
	expect(texts.out).toMatch(/All right: \d+ ids of \d+ batches/);
	expect(texts.out).toMatch(/Right: (\d+) of \1 accepted alarms are stored/);
	const folder = folderIn(texts.err) ?? "";
	expect(existsSync(folder)).toBe(false);
	expect(processesOf(folder)).toEqual([]);
}, 400_000);

test("Ctrl-C in the middle of the moves ends every server, and takes the folder away", async () => {
	const { child, texts, ended } = startDemo("--quick", "--alarms", "200000", "--rate", "2000");
	await eventually(() => /moving shards \d+%/.test(texts.err), "the moves to begin", 120_000);
	const folder = folderIn(texts.err) ?? "";
	expect(processesOf(folder).length).toBeGreaterThanOrEqual(10);
	child.kill("SIGINT");
	expect(await ended).toBe("exit code 130");
	expect(texts.err).toContain("stopped; its servers are gone");
	expect(processesOf(folder)).toEqual([]);
	expect(existsSync(folder)).toBe(false);
}, 300_000);
