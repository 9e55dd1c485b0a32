import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { alarmsOf, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { customerToken, type LocalCredentials } from "../../ops/credentials.ts";
import { findServer, type RunningMongod, startMongod } from "../../ops/embedded/index.ts";
import { freePort } from "../../ops/embedded/port.ts";
import { setUp } from "../../ops/system.ts";
import { eventually } from "./eventually.ts";
import { type FaultQueue, oneServer } from "./fault-queue.ts";
import { realMonth } from "./now.ts";
import type { Held } from "./oracle.ts";
import { processesNaming, type ServiceProcess, startProcess } from "./processes.ts";
import { FaultProxy } from "./proxy.ts";
import { TestQueue } from "./queue.ts";
import { type Rest, restClient } from "./rest.ts";
import { Revivable } from "./revivable.ts";
import { configOf, startServers, type TestServers } from "./servers.ts";
import { TestShards } from "./shards.ts";

/** A whole system of real processes, each joined to queue and databases by proxies of its own: everything in it can be broken. */

const SERVICES = {
	create: "gateway,alarm.create",
	query: "gateway,alarm.query",
	consume: "alarm.consume",
	router: "gateway,shard.router",
	mover: "gateway,archive.mover",
} as const;
type Kind = keyof typeof SERVICES;
export type NodeId = `${Kind}-${number}`;
/** What a node is joined to: the queue, or a database by its name. */
export type LinkTo = "nats" | "c0" | "c1";

export interface SystemOptions {
	nodes?: NodeId[];
	/** For set-up and all nodes. */
	env?: Record<string, string>;
	queue?: (servers: TestServers) => Promise<FaultQueue>;
}

interface FaultNode {
	process: Revivable<ServiceProcess>;
	links: Map<string, FaultProxy>;
}

/** As long as a producer waits for its answer; longer than the service may take. */
const PATIENCE_MS = 10_000;
const DRAIN_LIMIT_MS = 120_000;
const FENCE = { $expr: false };

export class FaultSystem {
	readonly servers: TestServers;
	readonly queue: FaultQueue;
	readonly mongods: Map<string, Revivable<RunningMongod>>;
	readonly shards: TestShards;
	keys!: LocalCredentials;
	readonly #env: Record<string, string>;
	readonly #nodes = new Map<NodeId, FaultNode>();
	/** `shard collection` of every fence that stands. */
	readonly #fences = new Set<string>();

	private constructor(
		servers: TestServers,
		queue: FaultQueue,
		mongods: Map<string, Revivable<RunningMongod>>,
		env: Record<string, string>,
	) {
		this.servers = servers;
		this.queue = queue;
		this.mongods = mongods;
		this.shards = new TestShards(servers);
		this.#env = env;
	}

	static async start({ nodes = ["create-1", "create-2", "consume-1"], env = {}, queue = oneServer }: SystemOptions) {
		const servers = await startServers();
		const system = await FaultSystem.#on(servers, queue, env);
		await Promise.all(nodes.map((id) => system.startNode(id)));
		return system;
	}

	static async #on(servers: TestServers, queueOn: NonNullable<SystemOptions["queue"]>, env: Record<string, string>) {
		const queue = await queueOn(servers);
		const own = { NATS_URL: queue.url, NATS_MONITOR_URLS: queue.monitorUrl, LOG_LEVEL: "warn", ...env };
		Object.assign(servers.env, own);
		const system = new FaultSystem(servers, queue, await revivableMongods(servers), own);
		const file = join(servers.dir, "credentials.json");
		// Three servers need a moment until they have agreed on a leader.
		await eventually(() => setUp(configOf(servers), file).then(() => true), "the set-up");
		system.keys = JSON.parse(await readFile(file, "utf8")) as LocalCredentials;
		return system;
	}

	/** Starts a node for the first time. */
	async startNode(id: NodeId, more: Record<string, string> = {}): Promise<void> {
		const links = await this.#linksOfNode();
		const env = { ...this.#env, ...linkedEnv(links), PORT: String(await freePort()), ...more };
		const start = () => startProcess(this.servers, id, SERVICES[id.slice(0, id.indexOf("-")) as Kind], env);
		this.#nodes.set(id, { process: new Revivable(await start(), start), links });
	}

	async #linksOfNode(): Promise<Map<string, FaultProxy>> {
		const isOne = this.queue.servers.size === 1;
		const targets = [...this.mongods].map(([name, { now }]): [string, string] => [name, now.uri]);
		// Servers of a cluster tell their clients of each other: a proxy before one would be left behind.
		const all = isOne ? [...targets, ["nats", this.queue.url] as const] : targets;
		const links = all.map(async ([name, url]) => [name, await FaultProxy.start(Number(new URL(url).port))] as const);
		return new Map(await Promise.all(links));
	}

	node(id: NodeId): Revivable<ServiceProcess> {
		return this.#at(id).process;
	}

	/** The connections of a node to the queue or a database. */
	link(id: NodeId, to: LinkTo): FaultProxy {
		const link = this.#at(id).links.get(to);
		if (link === undefined) throw new Error(`${id} has no proxy to ${to}`);
		return link;
	}

	/** The connections of all nodes to the queue or a database. */
	links(to: LinkTo): FaultProxy[] {
		return [...this.#nodes.keys()].map((id) => this.link(id, to));
	}

	#at(id: NodeId): FaultNode {
		const node = this.#nodes.get(id);
		if (node === undefined) throw new Error(`${id} was not started`);
		return node;
	}

	get nats(): Revivable<{ pid: number; ended: Promise<string> }> {
		const [first] = this.queue.servers.values();
		if (first === undefined) throw new Error("the system has no queue");
		return first;
	}

	mongod(name: string): Revivable<RunningMongod> {
		const mongod = this.mongods.get(name);
		if (mongod === undefined) throw new Error(`no mongod ${name}`);
		return mongod;
	}

	/** A producer at each creation edge. */
	producers(): Rest[] {
		const edges = [...this.#nodes].filter(([id]) => id.startsWith("create-"));
		return edges.map(([, { process }]) => restClient(process.now.url, this.keys.producerKey, PATIENCE_MS));
	}

	/** At the gateway of this node. */
	operator(id: NodeId): Rest {
		return restClient(this.node(id).now.url, this.keys.opsKey, PATIENCE_MS);
	}

	async customer(id: NodeId, userId: string): Promise<Rest> {
		return restClient(this.node(id).now.url, await customerToken(this.keys.signingKey, userId), PATIENCE_MS);
	}

	/** Rejects every write to a collection of a shard, as a move does: by default the alarms of this month. */
	async fence(shard: number, collection = alarmsOf(realMonth())): Promise<void> {
		this.#fences.add(`${shard} ${collection}`);
		await this.#setValidator(shard, collection, FENCE);
	}

	async unfence(shard: number, collection = alarmsOf(realMonth())): Promise<void> {
		await this.#setValidator(shard, collection, {});
		this.#fences.delete(`${shard} ${collection}`);
	}

	async #setValidator(shard: number, collection: string, validator: object): Promise<void> {
		const map = await this.shards.map();
		const cluster = this.shards.cluster(map.shards[shard]?.cluster ?? "");
		await cluster.db(shardDatabase(shard)).command({ collMod: collection, validator });
	}

	/** Undoes every fault: what is dead starts, what is frozen goes on, connections are whole, fences are lifted. */
	async heal(): Promise<void> {
		const servers = [...this.queue.servers.values(), ...this.mongods.values()];
		for (const one of [...servers, ...this.#processes()]) one.thaw();
		await Promise.all(servers.map((server) => server.revive()));
		await Promise.all([...this.#nodes.values()].flatMap(({ links }) => [...links.values()].map((link) => link.heal())));
		for (const fence of this.#fences) {
			const [shard, collection] = fence.split(" ");
			await this.unfence(Number(shard), collection);
		}
		await Promise.all(this.#processes().map((process) => process.revive()));
	}

	#processes(): Revivable<ServiceProcess>[] {
		return [...this.#nodes.values()].map(({ process }) => process);
	}

	/** Waits until nothing is on its way any more. */
	async drain(limitMs = DRAIN_LIMIT_MS): Promise<void> {
		// Twice: what was answered as doubtful may still arrive in between.
		const isDrained = async () => (await this.#isEmpty()) && (await this.#isEmpty());
		await eventually(isDrained, "outbox and queue drained", limitMs);
	}

	/** The outbox first: what leaves it stands in the queue before. */
	async #isEmpty(): Promise<boolean> {
		const outbox = await this.outbox();
		return outbox.length === 0 && Object.keys(await this.queued()).length === 0;
	}

	/** Batches in the outboxes of all clusters. */
	async outbox() {
		return (await this.shards.all("outbox")).filter(({ payload }) => payload !== undefined);
	}

	/** Messages in the queue by their subject. */
	queued(): Promise<Record<string, number>> {
		return this.onQueue((queue) => queue.bySubject());
	}

	/** How many batches are parked, of all lanes and shards. */
	async parked(): Promise<number> {
		const subjects = Object.entries(await this.queued()).filter(([subject]) => subject.includes(".parked."));
		return subjects.reduce((sum, [, count]) => sum + count, 0);
	}

	/** A connection of its own for a moment: one that is kept gives up while the queue is away. */
	async onQueue<T>(deed: (queue: TestQueue) => Promise<T>): Promise<T> {
		const queue = await TestQueue.open(this.queue.url);
		try {
			return await deed(queue);
		} finally {
			await queue.close();
		}
	}

	async held(): Promise<Held> {
		const [months, failures, keys] = await Promise.all(
			["alarms_", "failures", "keys_"].map((prefix) => this.shards.all(prefix)),
		);
		const [outbox, queued] = await Promise.all([this.outbox(), this.queued()]);
		return { months: months ?? [], failures: failures ?? [], keys: keys ?? [], outbox, queued };
	}

	/** What each node has written. */
	outputs(): [NodeId, string][] {
		return [...this.#nodes].map(([id, { process }]) => [id, process.now.output()]);
	}

	/** Ends everything, and tells which processes are left all the same. */
	async stop(): Promise<string[]> {
		for (const process of this.#processes()) process.thaw();
		await Promise.all(this.#processes().map((process) => process.end("SIGTERM")));
		await this.shards.close();
		for (const server of [...this.queue.servers.values(), ...this.mongods.values()]) {
			server.thaw();
			await server.end("SIGTERM");
		}
		for (const { links } of this.#nodes.values()) for (const link of links.values()) link.close();
		this.queue.remove();
		await this.servers.stop();
		return processesNaming(this.servers.dir);
	}
}

/** Directly, and through the proxy alone: the member that the replica set names is the server itself. */
function linkedEnv(links: Map<string, FaultProxy>): Record<string, string> {
	const nats = links.get("nats");
	const uri = ([name, { port }]: [string, FaultProxy]) =>
		`${name}=mongodb://127.0.0.1:${port}/?directConnection=true&replicaSet=${name}`;
	return {
		MONGO_SERVICE_URIS: [...links]
			.filter(([name]) => name !== "nats")
			.map(uri)
			.join(";"),
		...(nats && { NATS_URL: `nats://127.0.0.1:${nats.port}` }),
	};
}

async function revivableMongods({ dir, mongods }: TestServers): Promise<Map<string, Revivable<RunningMongod>>> {
	const binary = await findServer("mongod", { runDir: resolve(".run"), say: () => undefined });
	return new Map(
		Object.entries(mongods).map(([name, first]) => {
			const again = { binary, name, dir: join(dir, name), port: Number(new URL(first.uri).port) };
			return [name, new Revivable(first, () => startMongod(again))];
		}),
	);
}
