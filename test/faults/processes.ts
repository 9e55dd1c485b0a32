import { eventually } from "../support/eventually.ts";
import type { FaultSystem, NodeId } from "../support/fault-system.ts";
import { realNow } from "../support/now.ts";
import { type Marked, send } from "../support/oracle.ts";
import { restClient } from "../support/rest.ts";
import type { Counted, Run, Scenario } from "../support/scenario.ts";

/** What is done to our own processes. */

const EDGES = ["create-1", "create-2"] as const satisfies NodeId[];
const KILLS = 16;

/**
 * Kills at moments by chance, each a few ms apart in what a creation does: while batches go to the queue, and while the queue is
 * silent and they go to the outbox.
 */
async function killEdges({ system, load, chance, last }: Run): Promise<void> {
	for (let kills = 0; kills < KILLS; kills++) {
		const edge = chance.pick(EDGES);
		const isQueueSilent = chance.next() < 0.5;
		await load.acceptedMore(chance.between(5, 40));
		if (isQueueSilent) system.link(edge, "nats").drop("toClient");
		await last(chance.between(0, isQueueSilent ? 2_500 : 50));
		await system.node(edge).kill();
		await system.link(edge, "nats").heal();
		await system.node(edge).revive();
	}
}

/** A pair of steps of a creation edge, and how to bring it to stand between the two. */
interface Between {
	steps: string;
	reach(run: Run): Promise<void>;
}

const EDGE = "create-1";
const links = ({ system }: Run) => ({
	nats: system.link(EDGE, "nats"),
	databases: (["c0", "c1"] as const).map((name) => system.link(EDGE, name)),
});

/** Batches go to the outbox, because the queue does not answer this edge. */
async function byTheOutbox(run: Run): Promise<void> {
	const before = run.load.answers.length;
	links(run).nats.drop("toClient");
	const isSaved = () => run.load.answers.slice(before).some(({ told }) => told.is === "ok" && told.via === "outbox");
	await eventually(isSaved, "a creation by the outbox");
}

/** The outbox is full of batches, the queue is back and slow, and the relay has claimed some. */
async function inTheRelay(run: Run): Promise<void> {
	const { system, load } = run;
	await system.nats.kill();
	await load.acceptedMore(200);
	links(run).nats.delay("toClient", 300);
	await system.nats.revive();
	await eventually(async () => (await system.outbox()).some(({ token }) => token !== undefined), "a claim");
}

const PAIRS: Between[] = [
	{
		steps: "the batch is sent to the queue | the queue has it",
		reach: async (run) => {
			links(run).nats.drop("toServer");
			await run.last(400);
		},
	},
	{
		steps: "the queue has it | the edge has its PubAck",
		reach: async (run) => {
			links(run).nats.drop("toClient");
			await run.last(400);
		},
	},
	{
		steps: "the batch is sent to the outbox | the outbox has it",
		reach: async (run) => {
			await byTheOutbox(run);
			for (const link of links(run).databases) link.drop("toServer");
			await run.last(400);
		},
	},
	{
		steps: "the outbox has it | the edge has its word",
		reach: async (run) => {
			await byTheOutbox(run);
			for (const link of links(run).databases) link.drop("toClient");
			await run.last(400);
		},
	},
	{ steps: "the relay has claimed a batch | the queue has it", reach: inTheRelay },
	{
		steps: "the queue has a relayed batch | it is removed from the outbox",
		reach: async (run) => {
			await inTheRelay(run);
			for (const link of links(run).databases) link.drop("toServer");
			await run.last(3_000);
		},
	},
	{
		steps: "the outbox has removed it | the relay has heard so",
		reach: async (run) => {
			await inTheRelay(run);
			for (const link of links(run).databases) link.drop("toClient");
			await run.last(3_000);
		},
	},
];

const EDGE_BETWEEN_STEPS: Scenario = {
	name: "a creation node killed between each pair of its steps",
	done: `the only creation edge is brought to stand by its proxies between two steps, then kill -9 and a start: ${PAIRS.map(({ steps }) => steps.replace(" | ", " / ")).join("; ")}`,
	system: { nodes: [EDGE, "consume-1"] },
	async inject(run) {
		for (const { reach } of PAIRS) {
			await run.load.acceptedMore(30);
			await reach(run);
			await run.system.node(EDGE).kill();
			await run.system.heal();
		}
	},
};

const EDGE_KILLED: Scenario = {
	name: "a creation node killed at random moments",
	done: `a creation edge kill -9 ${KILLS} times at random moments, half of them while the queue does not answer it and its batches go to the outbox`,
	load: { perSecond: 100 },
	inject: killEdges,
};

const EDGE_KILLED_KEYED: Scenario = {
	name: "a creation node killed, and its producers send again with their keys: one alarm for each key",
	done: `a creation edge kill -9 ${KILLS} times at random moments; producers send everything doubtful or refused again, with its idempotency key`,
	load: { perSecond: 60, keyed: true },
	inject: killEdges,
	judge: ({ duplicates }: Counted) => expect(duplicates).toBeGreaterThan(0),
};

const RELAYS_RACE: Scenario = {
	name: "two relays racing, one frozen past its lease",
	done: "the outbox filled with nats-server away; back again, the edge that relays SIGSTOP in the middle of it until the other has taken over; SIGCONT while that one relays; three times",
	async inject(run) {
		const edgeOf = await epochsOfEdges(run);
		for (let round = 0; round < 3; round++) await freezeWhileRelaying(run, edgeOf);
	},
	judge: ({ viaOutbox }) => expect(viaOutbox).toBeGreaterThan(0),
};

/** By its epoch each edge: what it saves in the outbox bears it. */
async function epochsOfEdges({ system, planted }: Run): Promise<Map<string, NodeId>> {
	await system.nats.kill();
	const found = new Map<string, NodeId>();
	for (const edge of EDGES) {
		const producer = restClient(system.node(edge).now.url, system.keys.producerKey);
		const sent = await send(producer, burstAlarm(`at ${edge}`));
		planted.push(sent);
		const id = "id" in sent.told ? `${sent.told.id}` : "nowhere";
		const row = (await system.outbox()).find(({ payload }) => Buffer.from(payload).includes(id));
		found.set(row?.epoch, edge);
	}
	expect(found.size).toBe(EDGES.length);
	await system.nats.revive();
	return found;
}

/** Slow answers of the queue keep the relay busy, so that the freezing comes in the middle of it. */
async function freezeWhileRelaying({ system, load }: Run, edgeOf: Map<string, NodeId>): Promise<void> {
	await system.nats.kill();
	await load.acceptedMore(600);
	for (const link of system.links("nats")) link.delay("toClient", 300);
	const waiting = (await system.outbox()).length;
	await system.nats.revive();
	const first = await eventually(() => relaying(system), "a relay at work", 90_000);
	await eventually(async () => (await system.outbox()).length < waiting, "some relayed");
	await system.node(edgeOf.get(first) as NodeId).freeze();
	await eventually(async () => ((await relaying(system)) ?? first) !== first, "the other relay at work", 90_000);
	await system.heal();
}

/** The epoch of whoever has the lease of an outbox now. */
async function relaying(system: FaultSystem): Promise<string | undefined> {
	const leases = await system.shards.all("leases");
	return leases.find(({ until }) => until > realNow())?.holder;
}

export const WORKER_KILLED: Scenario = {
	name: "a consumer killed after the write and before the ack",
	done: "what a worker says to nats-server is swallowed: it stores batches whose acks are lost; kill -9, and a start",
	async inject({ system, load }) {
		await load.acceptedMore(50);
		system.link("consume-1", "nats").drop("toServer");
		const before = load.answers.length;
		await load.acceptedMore(50);
		const ids = load.answers.slice(before).flatMap(({ told }) => (told.is === "ok" ? [told.id] : []));
		const isStored = async () => {
			const slots = await Promise.all(ids.map((id) => system.shards.slot(Buffer.from(id, "base64url"))));
			return slots.some((slot) => slot !== null);
		};
		await eventually(isStored, "an alarm stored whose ack is lost");
		await system.node("consume-1").kill();
	},
};

const WORKER_TERMINATED: Scenario = {
	name: "a worker told to stop with 500 in hand ends well, and loses nothing",
	done: "a worker with slow databases and at least ten bulk batches of 50 in hand: SIGTERM",
	load: { bulkEvery: 2, bulkItems: 50, perSecond: 40 },
	async inject({ system, load }) {
		await load.acceptedMore(50);
		for (const name of ["c0", "c1"] as const) system.link("consume-1", name).delay("toClient", 1_500);
		const inHand = () => system.onQueue((queue) => queue.inHand("bulk"));
		await eventually(async () => (await inHand()) >= 10, "500 alarms in hand");
		expect(await system.node("consume-1").end("SIGTERM")).toBe("exit code 0");
	},
};

const BURST = 500;

const EDGE_TERMINATED: Scenario = {
	name: "a creation edge told to stop with 500 requests in hand answers each of them",
	done: "500 creations at once to an edge whose queue answers late; SIGTERM at the first answer",
	system: { nodes: ["create-1", "create-2", "consume-1"] },
	async inject({ system, load, planted }) {
		await load.acceptedMore(50);
		system.link("create-1", "nats").delay("toClient", 400);
		const edge = restClient(system.node("create-1").now.url, system.keys.producerKey);
		const burst = Array.from({ length: BURST }, (_, n) => send(edge, burstAlarm(`${n}`)));
		await Promise.race(burst);
		expect(await system.node("create-1").end("SIGTERM")).toBe("exit code 0");
		const sent = await Promise.all(burst);
		planted.push(...sent);
		expect(sent.filter(({ told }) => told.is === "unknown")).toEqual([]);
	},
};

function burstAlarm(name: string): Marked {
	return {
		userId: `burst-${name.slice(-1)}`,
		category: "card",
		title: "t",
		body: "b",
		data: { mark: `burst-${name}` },
	};
}

export const PROCESS_SCENARIOS: Scenario[] = [
	...[
		EDGE_BETWEEN_STEPS,
		EDGE_KILLED,
		EDGE_KILLED_KEYED,
		RELAYS_RACE,
		WORKER_KILLED,
		WORKER_TERMINATED,
		EDGE_TERMINATED,
	],
];
