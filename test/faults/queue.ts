import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { canMount, onSmallDisk, threeServers } from "../support/fault-queue.ts";
import type { Marked, Sent } from "../support/oracle.ts";
import { lineOf, plant } from "../support/plant.ts";
import type { Counted, Run, Scenario } from "../support/scenario.ts";

/** What is done to the queue. With the databases up no producer may notice: what the queue does not take goes by the outbox. */

function expectNobodyNoticed({ unknown, refused }: Counted): void {
	expect({ unknown, refused }).toEqual({ unknown: 0, refused: 0 });
}

function expectOutboxUsed(counted: Counted): void {
	expectNobodyNoticed(counted);
	expect(counted.viaOutbox).toBeGreaterThan(0);
}

const NATS_KILLED: Scenario = {
	name: "nats-server killed under load: nobody notices",
	done: "nats-server: kill -9 under load, away for two seconds",
	async inject({ system, load, last }) {
		await load.acceptedMore(100);
		await system.nats.kill();
		await last(2_000);
	},
	judge: expectOutboxUsed,
};

const KILLED_FIVE_TIMES: Scenario = {
	name: "nats-server killed five times under load",
	done: "nats-server: kill -9 five times under load, at random moments, away for up to two seconds",
	async inject({ system, load, chance, last }) {
		for (let kills = 0; kills < 5; kills++) {
			await load.acceptedMore(chance.between(20, 200));
			await system.nats.kill();
			await last(chance.between(0, 2_000));
			await system.nats.revive();
		}
	},
	judge: expectNobodyNoticed,
};

const FROZEN: Scenario = {
	name: "nats-server frozen and resumed",
	done: "nats-server: SIGSTOP for 15 s under load, then SIGCONT",
	async inject({ system, load, last }) {
		await load.acceptedMore(100);
		await system.nats.freeze();
		await last(15_000);
		system.nats.thaw();
	},
	judge: expectOutboxUsed,
};

const PUBACKS_LOST: Scenario = {
	name: "PubAcks lost on the way back",
	done: "proxies before the creation edges swallow all that nats-server says for 8 s; what they publish arrives",
	async inject({ system, load, last }) {
		await load.acceptedMore(100);
		for (const id of ["create-1", "create-2"] as const) system.link(id, "nats").drop("toClient");
		await last(8_000);
	},
	// Every doubtful batch goes by the outbox as well: the second copy finds its slots taken.
	judge: expectOutboxUsed,
};

const LEADER_LOST: Scenario = {
	name: "a three-node JetStream cluster loses its leader, killed and frozen",
	done: "three nats-servers, three replicas: the leader of the realtime lane kill -9, back; then the next leader SIGSTOP for 10 s",
	system: { queue: threeServers, env: { STREAM_REPLICAS: "3" } },
	async inject({ system, load, last }) {
		const leader = async () => {
			const name = await eventually(() => system.onQueue((queue) => queue.leaderOf("realtime")), "a leader");
			return system.queue.servers.get(name);
		};
		await load.acceptedMore(100);
		const first = await leader();
		await first?.kill();
		await load.acceptedMore(200);
		await first?.revive();
		await load.acceptedMore(100);
		await (await leader())?.freeze();
		await last(10_000);
	},
	judge: expectNobodyNoticed,
};

const STREAM_FULL: Scenario = {
	name: "a full stream refuses early, and what it refused is stored nowhere",
	done: "streams of 1 MB, no worker: full within seconds; a worker starts 10 s later",
	system: { nodes: ["create-1", "create-2"], env: { STREAM_MAX_BYTES: String(1024 ** 2) } },
	load: { perSecond: 80, bulkEvery: 2, bulkItems: 50 },
	async inject({ system, load, last }) {
		await eventually(() => load.answers.some(({ told }) => told.is === "refused"), "a creation refused");
		await last(10_000);
		await system.startNode("consume-1");
	},
	judge: ({ unknown, refused }) => {
		expect(unknown).toBe(0);
		expect(refused).toBeGreaterThan(0);
	},
};

function isViaOutbox({ answers }: Run["load"]): boolean {
	return answers.some(({ told }) => told.is === "ok" && told.via === "outbox");
}

const SENT_AGAIN = 1_000;
const PER_BATCH = 50;

export const SENT_AGAIN_AFTER_RESTART: Scenario = {
	name: "a clean restart of nats-server, and 1,000 acked ids sent again",
	done: "1,000 alarms stored and acked; nats-server stopped cleanly and started; the same messages, with the same message ids, sent again",
	async inject({ system, planted }) {
		planted.push(...Array.from({ length: SENT_AGAIN }, (_, n) => plant(`again-u${n % 20}`, `again-${n}`)));
		const put = () => system.onQueue((queue) => putBatches(planted, queue.put.bind(queue)));
		await put();
		await system.drain();
		await system.nats.end("SIGTERM");
		await system.nats.revive();
		await put();
	},
};

type Put = (lane: "realtime", payload: string, number: number, msgID: string) => Promise<void>;

async function putBatches(sent: Sent[], put: Put): Promise<void> {
	for (let at = 0; at < sent.length; at += PER_BATCH) {
		const lines = sent.slice(at, at + PER_BATCH).map(lineOf);
		await put("realtime", lines.join("\n"), 10_000 + at, `again-${at}`);
	}
}

const BUS_CUT: Scenario = {
	name: "the bus cut for 20 s: edges go on, and join again by themselves",
	done: "all nodes cut off from nats-server for 20 s: nothing arrives either way, new connections are refused; an inbox is read all the while",
	system: { nodes: ["create-1", "create-2", "consume-1", "query-1"] },
	async inject({ system, load, last }) {
		await load.acceptedMore(100);
		const customer = await system.customer("query-1", "reader");
		const read = async () => (await customer("GET", "/v1/users/reader/alarms")).status;
		const statuses = [await read()];
		for (const link of system.links("nats")) cutOff(link);
		for (let second = 0; second < 20; second++) {
			statuses.push(await read());
			await last(1_000);
		}
		expect(new Set(statuses)).toEqual(new Set([200]));
	},
	judge: expectOutboxUsed,
};

function cutOff(link: ReturnType<Run["system"]["link"]>): void {
	link.drop("toServer");
	link.drop("toClient");
	link.refuse();
}

const STARTED_WITHOUT: Scenario = {
	name: "edges started with NATS down serve at once, and join when it comes",
	done: "nats-server killed; then a creation and a query edge started; after 10 s it comes back, and nobody is started again",
	system: { nodes: ["create-1", "consume-1"] },
	async inject({ system, load, planted, last }) {
		await load.acceptedMore(50);
		await system.nats.kill();
		await Promise.all([system.startNode("create-2"), system.startNode("query-1")]);
		const late = system.producers()[1];
		const alarm: Marked = { userId: "late", category: "card", title: "t", body: "b", data: { mark: "late" } };
		const reply = await late?.("POST", "/v1/alarms", alarm);
		expect(reply).toMatchObject({ status: 202, body: { via: "outbox" } });
		planted.push({ alarm, told: { is: "ok", id: reply?.body.id } });
		const reader = await system.customer("query-1", "late");
		expect((await reader("GET", "/v1/users/late/alarms")).status).toBe(200);
		await last(10_000);
		await system.nats.revive();
		await eventually(
			async () => (await reader("GET", `/v1/users/late/alarms/${reply?.body.id}`)).status === 200,
			"the alarm of the new edge stored",
		);
	},
	judge: expectOutboxUsed,
};

const SMALL_DISK = 48 * 1024 ** 2;
const MOUNT_POINT = join(".run", "faults", "mount");

const DISK_FULL: Scenario = {
	name: "the disk of the queue full: creations go by the outbox",
	done: "nats-server on a disk of 48 MB in memory that somebody else fills up, for 10 s; then room again, and a restart of nats-server",
	system: { queue: (servers) => onSmallDisk(servers, SMALL_DISK) },
	async inject({ system, load, last }) {
		await load.acceptedMore(100);
		const filler = join(system.servers.dir, "small-disk", "filler");
		fillUp(filler);
		await eventually(() => isViaOutbox(load), "a creation by the outbox");
		await last(10_000);
		writeFileSync(filler, "");
		// A server whose disk was full has given JetStream up: somebody has to start it again.
		await system.nats.kill();
	},
	judge: expectOutboxUsed,
};

/** Writes until there is no room for a byte. */
function fillUp(file: string): void {
	for (let size = 1024 ** 2; size >= 1; ) {
		try {
			writeFileSync(file, Buffer.alloc(size), { flag: "a" });
		} catch {
			size = Math.floor(size / 2);
		}
	}
}

/** The full disk only where this process may make one. */
function diskScenarios(): Scenario[] {
	mkdirSync(MOUNT_POINT, { recursive: true });
	if (canMount(MOUNT_POINT)) return [DISK_FULL];
	console.log("the full disk is left out: this process may not mount a disk in memory (it needs root on Linux)");
	return [];
}

export const queueScenarios = (): Scenario[] => [
	NATS_KILLED,
	KILLED_FIVE_TIMES,
	FROZEN,
	PUBACKS_LOST,
	LEADER_LOST,
	STREAM_FULL,
	SENT_AGAIN_AFTER_RESTART,
	BUS_CUT,
	STARTED_WITHOUT,
	...diskScenarios(),
];
