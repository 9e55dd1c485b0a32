import type { JetStreamManager } from "nats";
import { LANES } from "../contracts/alarm.ts";
import { laneFaults, streamOf } from "./lanes.ts";

/** What must be true of a nats-server before it may hold accepted alarms. `away` is not wrong: it has to be asked again. */
export type Inspection = { is: "sound" } | { is: "wrong"; why: string } | { is: "away"; why: string };

const ASK_MS = 2_000;

/** Inspects the monitors (does every server that answers sync always?) and both lanes (may a stream throw work away?). */
export function inspector(monitorUrls: string[]): (manager: JetStreamManager) => Promise<Inspection> {
	return async (manager) => {
		const servers = await Promise.all(monitorUrls.map(inspectSync));
		const lanes = await Promise.all(LANES.map((lane) => inspectLane(manager, streamOf(lane))));
		return verdictOf(servers, lanes);
	};
}

/** Wrong if anything says so. A server of the cluster that is down holds nobody up, as long as another has answered. */
export function verdictOf(servers: Inspection[], lanes: Inspection[]): Inspection {
	const wrong = [...servers, ...lanes].find(({ is }) => is === "wrong");
	const away = lanes.find(({ is }) => is === "away");
	if (wrong !== undefined || away !== undefined) return wrong ?? away ?? { is: "sound" };
	return servers.find(({ is }) => is === "sound") ?? servers[0] ?? { is: "away", why: "there is no monitor to ask" };
}

async function inspectLane(manager: JetStreamManager, stream: string): Promise<Inspection> {
	try {
		const [fault] = laneFaults((await manager.streams.info(stream)).config);
		return fault === undefined ? { is: "sound" } : { is: "wrong", why: fault };
	} catch (error) {
		return { is: "away", why: `stream ${stream}: ${error instanceof Error ? error.message : String(error)}` };
	}
}

/** A nats-server acks before it syncs, unless told otherwise: then a power cut loses what was accepted. */
async function inspectSync(monitorUrl: string): Promise<Inspection> {
	try {
		const reply = await fetch(new URL("/varz", monitorUrl), { signal: AbortSignal.timeout(ASK_MS) });
		return syncVerdict(monitorUrl, await reply.json());
	} catch (error) {
		return {
			is: "away",
			why: `${monitorUrl} does not answer: ${error instanceof Error ? error.message : String(error)}`,
		};
	}
}

/** What time it is on a nats-server, in ms. */
export async function askClock(monitorUrl: string): Promise<number> {
	const reply = await fetch(new URL("/varz", monitorUrl), { signal: AbortSignal.timeout(ASK_MS) });
	return Date.parse(((await reply.json()) as { now: string }).now);
}

export function syncVerdict(monitorUrl: string, varz: unknown): Inspection {
	const jetstream = (varz as { jetstream?: { config?: { sync_always?: boolean } } } | null)?.jetstream;
	if (jetstream?.config === undefined)
		return { is: "wrong", why: `nats-server at ${monitorUrl} runs without JetStream; enable it` };
	if (jetstream.config.sync_always === true) return { is: "sound" };
	return { is: "wrong", why: `nats-server at ${monitorUrl} syncs lazily; set jetstream { sync_interval: always }` };
}
