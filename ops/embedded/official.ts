import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Say } from "./chain.ts";
import { output } from "./command.ts";

const MONGOD_VERSION = "7.0.14";
const NATS_VERSION = "v2.15.1";
const NATS_RELEASES = "https://github.com/nats-io/nats-server/releases/download";
const STALL_MS = 10_000;
const LIMIT_MS = 600_000;

export interface Fetch {
	/** An empty folder for what is downloaded; the caller removes it. */
	folder: string;
	say: Say;
	signal?: AbortSignal | undefined;
}

/** MongoDB's own archive for this platform, by mongodb-memory-server's code, which knows what every system needs. */
export async function officialMongod({ folder, say, signal }: Fetch): Promise<string> {
	say(`mongod: trying the official download of ${MONGOD_VERSION} …`);
	const program = path.join(import.meta.dirname, "fetch-mongod.ts");
	const answer = await output(process.execPath, [program, folder, MONGOD_VERSION], {
		limitMs: LIMIT_MS,
		stallMs: STALL_MS,
		progress: () => folderBytes(folder),
		signal,
		// Without npm's setting that library does not check certificates; and its retries only delay the next step.
		env: { ...process.env, npm_config_strict_ssl: "true", MONGOMS_MAX_RETRIES: "1" },
		onLine: (line) => line.startsWith("Downloading") && say(`mongod: ${line}`),
	});
	const found = /^MONGOD (.+)$/m.exec(answer)?.[1];
	if (found === undefined) throw new Error("the download ended without a mongod");
	return found;
}

/** The project's release archive, checked against the sums published beside it. */
export async function officialNats({ folder, say, signal }: Fetch): Promise<string> {
	say(`nats-server: trying the official download of ${NATS_VERSION} …`);
	const name = `nats-server-${NATS_VERSION}-${natsPlatform()}`;
	const sums = String(await download(`${NATS_RELEASES}/${NATS_VERSION}/SHA256SUMS`, signal));
	const archive = await download(`${NATS_RELEASES}/${NATS_VERSION}/${name}.tar.gz`, signal);
	const sum = createHash("sha256").update(archive).digest("hex");
	if (!sums.includes(sum)) throw new Error(`${name}.tar.gz has a sha256 that the release does not list: ${sum}`);
	const file = path.join(folder, "nats-server.tar.gz");
	await writeFile(file, archive);
	await output("tar", ["-xzf", file, "-C", folder], { limitMs: 60_000, signal });
	return path.join(folder, name, "nats-server");
}

function natsPlatform(): string {
	const arch = process.arch === "x64" ? "amd64" : process.arch;
	return `${process.platform}-${arch}`;
}

async function download(url: string, signal?: AbortSignal): Promise<Buffer> {
	const stall = new AbortController();
	const signals = signal ? [stall.signal, signal] : [stall.signal];
	const timer = setTimeout(() => stall.abort(new Error(`no progress for ${STALL_MS / 1000} s`)), STALL_MS);
	try {
		const answer = await fetch(url, { signal: AbortSignal.any(signals) });
		if (!answer.ok || !answer.body) throw new Error(`${url} answers ${answer.status}`);
		const chunks: Uint8Array[] = [];
		for await (const chunk of answer.body) {
			timer.refresh();
			chunks.push(chunk);
		}
		return Buffer.concat(chunks);
	} finally {
		clearTimeout(timer);
	}
}

function folderBytes(folder: string): number {
	try {
		const files = readdirSync(folder, { recursive: true }).map((name) => path.join(folder, String(name)));
		return files.reduce((sum, file) => sum + statSync(file).size, 0);
	} catch {
		return 0; // a file was renamed while we looked
	}
}
