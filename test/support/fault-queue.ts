import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { findServer, type RunningNats, startNats } from "../../ops/embedded/index.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { type ServerProcess, spawnServer } from "../../ops/embedded/server-process.ts";
import { eventually } from "./eventually.ts";
import { Revivable, type Running } from "./revivable.ts";
import type { TestServers } from "./servers.ts";

/** The queues that a fault system can stand on: one nats-server, one on a small disk, or three as a JetStream cluster. */
export interface FaultQueue {
	/** By the server's name. */
	servers: Map<string, Revivable<Running>>;
	/** For the environment: NATS_URL and NATS_MONITOR_URLS. */
	url: string;
	monitorUrl: string;
	/** After the servers have ended. */
	remove(): void;
}

const silent = () => undefined;
const binary = () => findServer("nats-server", { runDir: resolve(".run"), say: silent });
const portOf = (url: string) => Number(new URL(url).port);

/** The server that the test's servers brought along. */
export async function oneServer({ dir, nats }: TestServers): Promise<FaultQueue> {
	const again = { binary: await binary(), dir: join(dir, "nats"), ...portsOf(nats) };
	return queueOf(nats, () => startNats(again));
}

/** The same on a disk of its own, of so many bytes. @throws when this process may not mount one. */
export async function onSmallDisk({ dir, nats }: TestServers, bytes: number): Promise<FaultQueue> {
	await nats.stop();
	const disk = join(dir, "small-disk");
	mkdirSync(disk);
	mountTmpfs(disk, bytes);
	// The server is to meet the end of the disk, and not a limit of its own before that.
	writeFileSync(join(disk, "store-bytes"), String(1024 ** 3));
	const start = async () => startNats({ binary: await binary(), dir: disk, ...portsOf(nats) });
	return { ...queueOf(await start(), start), remove: () => unmount(disk) };
}

function portsOf({ url, monitorUrl }: RunningNats): { port: number; monitorPort: number } {
	return { port: portOf(url), monitorPort: portOf(monitorUrl) };
}

function queueOf(first: RunningNats, start: () => Promise<RunningNats>): FaultQueue {
	const servers = new Map([["nats", new Revivable<Running>(first, start)]]);
	return { servers, url: first.url, monitorUrl: first.monitorUrl, remove: silent };
}

/** Whether this process may mount a disk in memory (root may, where the system allows it). */
export function canMount(dir: string): boolean {
	try {
		mountTmpfs(dir, 1024 ** 2);
		unmount(dir);
		return true;
	} catch {
		return false;
	}
}

function mountTmpfs(dir: string, bytes: number): void {
	execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", dir], { stdio: "pipe" });
}

function unmount(dir: string): void {
	execFileSync("umount", ["--lazy", dir], { stdio: "pipe" });
}

interface Member {
	name: string;
	port: number;
	monitorPort: number;
	routePort: number;
}

/** Three servers that keep every message three times, each synced always. */
export async function threeServers({ dir, nats }: TestServers): Promise<FaultQueue> {
	await nats.stop();
	const members = await Promise.all(["n0", "n1", "n2"].map(memberNamed));
	const path = await binary();
	const start = (member: Member) => startMember(path, join(dir, member.name), member, members);
	const started = await Promise.all(members.map(start));
	const servers = members.map((member, at): [string, Revivable<Running>] => [
		member.name,
		new Revivable<Running>(started[at] as Running, () => start(member)),
	]);
	const list = (port: "port" | "monitorPort", scheme: string) =>
		members.map((member) => `${scheme}://127.0.0.1:${member[port]}`).join(",");
	return {
		...{ servers: new Map(servers), remove: silent },
		...{ url: list("port", "nats"), monitorUrl: list("monitorPort", "http") },
	};
}

async function memberNamed(name: string): Promise<Member> {
	return { name, port: await freePort(), monitorPort: await freePort(), routePort: await freePort() };
}

async function startMember(path: string, dir: string, member: Member, all: Member[]): Promise<ServerProcess> {
	mkdirSync(dir, { recursive: true });
	const file = join(dir, "nats.conf");
	writeFileSync(file, memberConfig(dir, member, all));
	const server = spawnServer(path, ["-c", file], join(dir, "nats.log"));
	// Alone it is not healthy, but it answers: the others may still be starting.
	const answers = async () => (await fetch(`http://127.0.0.1:${member.monitorPort}/varz`)).ok;
	await eventually(answers, `${member.name} answering: ${server.log()}`);
	return server;
}

function memberConfig(dir: string, { name, port, monitorPort, routePort }: Member, all: Member[]): string {
	const routes = all.map((one) => `"nats://127.0.0.1:${one.routePort}"`).join(", ");
	return `server_name: ${name}
listen: "127.0.0.1:${port}"
http: "127.0.0.1:${monitorPort}"
max_payload: 1MB
jetstream {
	store_dir: ${JSON.stringify(join(dir, "data"))}
	sync_interval: always
	max_file_store: 2GB
}
cluster {
	name: faults
	listen: "127.0.0.1:${routePort}"
	routes: [${routes}]
}
`;
}
