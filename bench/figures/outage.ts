import { MongoClient } from "mongodb";
import { CLUSTER_CATALOG, CLUSTER_DATABASE } from "../../domain/routing/collection-catalog.ts";
import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import type { Lab } from "../lab.ts";
import { sampleAlarm } from "../sample.ts";
import { keepRequests, type Loaded, loadOnce, type Stage } from "../stage.ts";
import { cpuNote, ratesOf, singleRequests } from "./creation.ts";

const CONNECTIONS = 64;
const LIMIT_MS = 30_000;

/** Single creations accepted per second while the queue stands still, against the normal way of the same edge. No worker runs. */
export async function outage(stage: Stage): Promise<Figure[]> {
	const { lab, rounds } = stage;
	const requests = await keepRequests(stage, "singles", singleRequests(lab.keys.producerKey));
	const edge = await lab.startRole("create");
	const aim = { connections: CONNECTIONS, requests, expect: 202 };
	const normal: Loaded[] = [];
	const saved: Loaded[] = [];
	for (let round = 0; round <= rounds; round++) {
		await untilVia(lab, edge, "queue");
		const before = await loadOnce(stage, edge, aim);
		await lab.purge();
		const during = await whileFrozen(lab.nats.pid, async () => {
			await untilVia(lab, edge, "outbox");
			return await loadOnce(stage, edge, aim);
		});
		await emptyOutboxes(lab);
		stage.say(
			`outage · round ${round}/${rounds} · queue ${Math.round(before.perS)}/s, outbox ${Math.round(during.perS)}/s`,
		);
		if (round > 0) normal.push(before);
		if (round > 0) saved.push(during);
	}
	await edge.stop();
	const baseline = { name: "the same edge with its queue", samples: ratesOf(normal), band: null, reach: 0.5 };
	const notes = [cpuNote("with the queue", normal), cpuNote("with the outbox", saved)];
	return [
		{
			key: "outage",
			name: "creations accepted, queue frozen",
			unit: "/s",
			samples: ratesOf(saved),
			baselines: [baseline],
			notes,
		},
	];
}

async function whileFrozen<R>(pid: number, work: () => Promise<R>): Promise<R> {
	process.kill(pid, "SIGSTOP");
	try {
		return await work();
	} finally {
		process.kill(pid, "SIGCONT");
	}
}

/** The first that notices waits for its publish to time out; nobody does after it. */
async function untilVia({ keys }: Lab, { port }: Child, via: string): Promise<void> {
	const endMs = Date.now() + LIMIT_MS;
	const headers = { authorization: `Bearer ${keys.producerKey}`, "content-type": "application/json" };
	for (let seen = ""; seen !== via; ) {
		if (Date.now() > endMs) throw new Error(`alarms did not go by the ${via} within ${LIMIT_MS / 1_000} s`);
		const body = JSON.stringify(sampleAlarm(0));
		const reply = await fetch(`http://127.0.0.1:${port}/v1/alarms`, { method: "POST", headers, body });
		seen = ((await reply.json()) as { via?: string }).via ?? "";
	}
}

/** Thrown away, so that relaying does not run beside the next round. */
async function emptyOutboxes({ mongods }: Lab): Promise<void> {
	for (const { uri } of mongods) {
		const client = await new MongoClient(uri).connect();
		await client.db(CLUSTER_DATABASE).collection(CLUSTER_CATALOG.outbox.kind).deleteMany({});
		await client.close();
	}
}
