import type { Figure } from "../figure.ts";
import type { Request } from "../load/line.ts";
import { SAMPLE_SIZE, sampleAlarm } from "../sample.ts";
import { interleaved, keepRequests, type Loaded, type Stage } from "../stage.ts";
import { median } from "../stats.ts";

const CONNECTIONS = 64;

/** (a) Single creations accepted per second. No worker runs. */
export async function creation(stage: Stage): Promise<Figure[]> {
	const { lab } = stage;
	const requests = await keepRequests(stage, "singles", singleRequests(lab.keys.producerKey));
	const each = await lab.start("raw/create", { args: [lab.nats.url, "each"] });
	const packed = await lab.start("raw/create", { args: [lab.nats.url, "packed"] });
	const ours = await lab.startRole("create");
	const aim = { connections: CONNECTIONS, requests, expect: 202 };
	const servers = [
		{ child: { ...each, name: "bare, a message each" }, aim },
		{ child: { ...packed, name: "bare, packed" }, aim },
		{ child: { ...ours, name: "ours" }, aim },
	];
	const [byEach = [], byPacked = [], byOurs = []] = await interleaved(stage, "single creations", servers, lab.purge);
	for (const { child } of servers) await child.stop();
	return [
		{
			key: "creation",
			name: "single creations accepted",
			unit: "/s",
			samples: ratesOf(byOurs),
			baselines: [
				{ name: "bare server, a message each", samples: ratesOf(byEach), band: [4_200, 4_500], reach: 2.5 },
				{ name: "bare server, packed", samples: ratesOf(byPacked), band: [21_500, 23_500], reach: 0.65 },
			],
			notes: [cpuNote("ours", byOurs), cpuNote("bare packed", byPacked)],
		},
	];
}

/** The whole sample, an alarm a request. */
export function singleRequests(auth: string): Request[] {
	return Array.from({ length: SAMPLE_SIZE }, (_, at) => ({
		method: "POST",
		path: "/v1/alarms",
		auth,
		body: sampleAlarm(at),
	}));
}

export function ratesOf(results: Loaded[]): number[] {
	return results.map(({ perS }) => perS);
}

/** Latencies, and who used how much of a core: a generator that uses more than the server measures itself. */
export function cpuNote(name: string, results: Loaded[]): string {
	const of = (pick: (one: Loaded) => number) => median(results.map(pick));
	const percent = (part: number) => `${Math.round(part * 100)} %`;
	const times = `p50 ${of((one) => one.p50Ms).toFixed(1)} ms, p99 ${of((one) => one.p99Ms).toFixed(1)} ms`;
	return `${name}: ${times}; server ${percent(of((one) => one.serverCpu))}, generator ${percent(of((one) => one.ownCpu))} of a core`;
}
