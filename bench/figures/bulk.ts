import type { Figure } from "../figure.ts";
import type { Request } from "../load/line.ts";
import { freshAlarm } from "../sample.ts";
import { keepRequests, type Loaded, loadOnce, type Stage } from "../stage.ts";
import { cpuNote, ratesOf } from "./creation.ts";

const ALARMS_PER_REQUEST = 1_000;
const REQUESTS = 20;
const CONNECTIONS = 8;
const IN_FLIGHT = 32;
/** The size at which the band was measured; ours are larger, and cost the server less. */
const SMALL_MESSAGE = 50;

/** (b) Bulk alarms accepted per second, against publishing the same packed bytes. No worker runs. */
export async function bulk(stage: Stage): Promise<Figure[]> {
	const { lab, rounds, windowMs } = stage;
	const requests = await keepRequests(stage, "bulk", bulkRequests(lab.keys.producerKey));
	const raw = await lab.start("raw/publish", { args: [lab.nats.url] });
	const ours = await lab.startRole("create");
	const theirs: number[] = [];
	const small: number[] = [];
	const results: Loaded[] = [];
	for (let round = 1; round <= rounds; round++) {
		theirs.push(await raw.ask<number>({ durationMs: windowMs, inFlight: IN_FLIGHT, perRequest: ALARMS_PER_REQUEST }));
		await lab.purge();
		small.push(await raw.ask<number>({ durationMs: windowMs, inFlight: IN_FLIGHT, perRequest: SMALL_MESSAGE }));
		await lab.purge();
		const one = await loadOnce(stage, ours, { connections: CONNECTIONS, requests, expect: 202 });
		results.push({ ...one, perS: one.perS * ALARMS_PER_REQUEST });
		await lab.purge();
		stage.say(
			`bulk · round ${round}/${rounds} · packed bytes ${Math.round(theirs.at(-1) ?? 0)}/s, ours ${Math.round(one.perS * ALARMS_PER_REQUEST)}/s`,
		);
	}
	await raw.stop();
	await ours.stop();
	const baseline = {
		name: "publishing the same bytes",
		samples: theirs,
		band: [200_000, 200_000] as const,
		reach: 0.4,
	};
	return [
		{
			key: "bulk",
			name: "bulk alarms accepted",
			unit: "/s",
			samples: ratesOf(results),
			baselines: [
				baseline,
				{ name: "publishing messages of 50", samples: small, band: [200_000, 200_000], reach: null },
			],
			notes: [cpuNote("ours, per request", results)],
		},
	];
}

/** Requests of a thousand alarms each, all on the bulk lane. */
export function bulkRequests(auth: string): Request[] {
	return Array.from({ length: REQUESTS }, (_, request) => {
		const alarms = Array.from({ length: ALARMS_PER_REQUEST }, (_, at) =>
			freshAlarm(request * ALARMS_PER_REQUEST + at, "bulk"),
		);
		return {
			method: "POST",
			path: "/v1/alarms/bulk",
			auth,
			body: { alarms: alarms.map(({ lane: _lane, ...alarm }) => alarm) },
		};
	});
}
