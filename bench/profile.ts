import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import type { RoleName } from "../ops/start/roles.ts";
import { onStopSignal } from "../ops/start/signals.ts";
import { type Child, ROOT } from "./child.ts";
import { byFunction, byPackage, newestProfile, tableOfSpent } from "./cpu-profile.ts";
import { bulkRequests } from "./figures/bulk.ts";
import { singleRequests } from "./figures/creation.ts";
import { pageRequests } from "./figures/reading.ts";
import { drain } from "./figures/storing.ts";
import { withLab } from "./lab.ts";
import { loadLine } from "./report.ts";
import { keepRequests, loadOnce, type Stage } from "./stage.ts";

// `npm run bench:profile`: V8 CPU profiles of creation edge, worker and query edge under load, and a summary of them in docs/performance.

const { values } = parseArgs({
	options: { only: { type: "string" }, out: { type: "string", default: "docs/performance" } },
});
const WINDOW = { rounds: 1, windowMs: 6_000, warmMs: 2_000 };
const BACKLOG = 200_000;
const CUSTOMERS = 5_000;
const TOP = 25;

type Loading = (stage: Stage, child: Child) => Promise<number>;
interface Subject {
	role: RoleName;
	title: string;
	prepare?: (stage: Stage) => Promise<void>;
	load: Loading;
}

const SUBJECTS: Record<string, Subject> = {
	create: {
		role: "create",
		title: "Creation edge, single creations from 64 connections",
		load: async (stage, child) => {
			const requests = await keepRequests(stage, "singles", singleRequests(stage.lab.keys.producerKey));
			return (await loadOnce(stage, child, { connections: 64, requests, expect: 202 })).perS;
		},
	},
	bulk: {
		role: "create",
		title: "Creation edge, bulk requests of 1,000 from 8 connections (requests per second)",
		load: async (stage, child) => {
			const requests = await keepRequests(stage, "bulk", bulkRequests(stage.lab.keys.producerKey));
			return (await loadOnce(stage, child, { connections: 8, requests, expect: 202 })).perS;
		},
	},
	consume: {
		role: "consume",
		title: "Worker, draining a backlog",
		load: async ({ lab }, child) => (await drain(lab, child, "bulk", BACKLOG, "profile")).perS,
	},
	query: {
		role: "query",
		title: "Query edge, inbox pages from 32 connections",
		load: async (stage, child) => {
			const requests = await keepRequests(stage, "pages", await pageRequests(stage, CUSTOMERS));
			return (await loadOnce(stage, child, { connections: 32, requests, expect: 200 })).perS;
		},
	},
};

async function profileOf(name: string, subject: Subject, signal: AbortSignal): Promise<string> {
	return await withLab(signal, async (lab) => {
		const folder = path.join(lab.dir, "profile");
		const stage: Stage = { lab, load: await lab.start("load/process"), say, ...WINDOW };
		const child = await lab.startRole(subject.role, ["--cpu-prof", `--cpu-prof-dir=${folder}`]);
		const perS = await subject.load(stage, child);
		await child.stop();
		say(`${name}: ${Math.round(perS)}/s under the profiler`);
		return summary(subject.title, perS, folder);
	});
}

function summary(title: string, perS: number, folder: string): string {
	const profile = newestProfile(folder);
	return [
		`## ${title}`,
		`${Math.round(perS)} per second under the profiler (which itself costs some of it); the whole life of the process, start included.`,
		tableOfSpent(byPackage(profile), 14),
		tableOfSpent(byFunction(profile), TOP),
	].join("\n\n");
}

function say(text: string): void {
	process.stderr.write(`${text}\n`);
}

async function main(): Promise<void> {
	const stop = new AbortController();
	onStopSignal(
		() => stop.abort(new Error("stopped")),
		() => process.exit(130),
	);
	const about = `Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}, ${new Date().toISOString()}, ${loadLine()}.`;
	const parts = ["# CPU profiles under load", `Written by \`npm run bench:profile\`. ${about}`];
	for (const name of values.only?.split(",") ?? Object.keys(SUBJECTS)) {
		const subject = SUBJECTS[name];
		if (subject === undefined) throw new Error(`there is no "${name}"; there are ${Object.keys(SUBJECTS).join(", ")}`);
		parts.push(await profileOf(name, subject, stop.signal));
	}
	const folder = path.resolve(ROOT, values.out);
	await mkdir(folder, { recursive: true });
	const file = path.join(folder, "profiles.md");
	await writeFile(file, `${parts.join("\n\n")}\n`);
	say(`written: ${file}`);
}

await main();
process.exit();
