import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { guard } from "../../ops/embedded/guard.ts";
import { endOf } from "../../ops/embedded/server-process.ts";
import { eventually } from "../support/eventually.ts";

/** `npm run demo:year`, small. */
function startDemo(...args: string[]) {
	const child = spawn(process.execPath, ["bench/demo-year.ts", ...args], { stdio: ["ignore", "pipe", "pipe"] });
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

/** The folder that the demonstration says its databases are in. */
function folderIn(text: string): string | undefined {
	return /in (\S*alarm-year-\S+)/.exec(text)?.[1];
}

/** Processes that were started with this text among their arguments. */
function processesWith(text: string): string[] {
	return readdirSync("/proc").filter((pid) => {
		try {
			return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
		} catch {
			return false;
		}
	});
}

test("a year is walked through: months are archived and dropped, and inboxes are whole across both tiers", async () => {
	const { texts, ended } = startDemo("--alarms", "4000", "--customers", "100", "--shards", "2");
	expect(`${await ended}\n${texts.err}`).toMatch(/^exit code 0\n/);
	const pictures = texts.out.split(/^\d{4}-\d\d-01: /m).slice(1);
	expect(pictures).toHaveLength(16);
	expect(pictures[0]).toMatch(/^nothing is due\n/);
	expect(texts.out).toMatch(/archived \d{4}-\d\d; a day later dropped its 2 sources; dropped \d{4}-\d\d\n/);
	const last = pictures.at(-1) ?? "";
	const months = (tier: string) => last.match(new RegExp(`^\\d{4}-\\d\\d  ${tier} `, "gm"))?.length ?? 0;
	expect(months("dropped")).toBeGreaterThanOrEqual(2);
	expect(months("archive")).toBeGreaterThanOrEqual(8);
	expect(months("service")).toBeGreaterThanOrEqual(3);
	expect(months("dropped") + months("archive") + months("service")).toBe(15);
	expect(last).toMatch(/24 inboxes read to their ends: \d+ alarms of \d service and \d+ archived months/);
	expect(last).toMatch(/Right: every alarm is as it was put in, once, and in order\.\n$/);
	expect(existsSync(folderIn(texts.err) ?? "")).toBe(false);
});

test("Ctrl-C ends the demonstration's databases and takes their folder away", async () => {
	const { child, texts, ended } = startDemo("--alarms", "1000000");
	await eventually(() => folderIn(texts.err) !== undefined && /\d+%/.test(texts.err), "the walk to begin", 30_000);
	const folder = folderIn(texts.err) ?? "";
	expect(processesWith(folder)).toHaveLength(3);
	child.kill("SIGINT");
	expect(await ended).toBe("exit code 130");
	expect(texts.err).toContain("stopped; its databases are gone");
	expect(processesWith(folder)).toEqual([]);
	expect(existsSync(folder)).toBe(false);
});
