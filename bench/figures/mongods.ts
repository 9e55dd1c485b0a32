import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import { type Lab, withLabs } from "../lab.ts";
import type { Stage } from "../stage.ts";
import { median } from "../stats.ts";
import { drain } from "./storing.ts";

const COUNTS = [1, 2, 4];
const REACH = 0.85;

/** What one worker stores per second when the shards lie on one, two and four mongods of the same machine. */
export async function mongods(stage: Stage, alarms: number, signal: AbortSignal): Promise<Figure[]> {
	const options = COUNTS.map((clusters) => ({ clusters }));
	return await withLabs(signal, options, (labs) => measure(stage, labs, alarms));
}

async function measure(stage: Stage, labs: Lab[], alarms: number): Promise<Figure[]> {
	const workers: Child[] = [];
	for (const lab of labs) workers.push(await lab.startRole("consume"));
	const rates: number[][] = labs.map(() => []);
	for (let round = 0; round <= stage.rounds; round++) {
		for (const [at, lab] of labs.entries()) {
			const { perS } = await drain(lab, workers[at] as Child, "bulk", alarms, `${COUNTS[at]}-${round}`);
			if (round > 0) rates[at]?.push(perS);
			stage.say(
				`mongods · ${round === 0 ? "warming" : `round ${round}/${stage.rounds}`}: with ${COUNTS[at]} ${Math.round(perS)}/s`,
			);
		}
	}
	const [one = [], ...more] = rates;
	return more.map((samples, at) => figureOf(COUNTS[at + 1] ?? 0, samples, one, alarms));
}

function figureOf(count: number, samples: number[], one: number[], alarms: number): Figure {
	const ratios = samples.map((perS, round) => (perS / (one[round] ?? Number.NaN)).toFixed(2)).join(", ");
	return {
		...{ key: `mongods-${count}`, name: `backlog stored, ${count} mongods`, unit: "/s", samples },
		baselines: [{ name: "one mongod", samples: one, band: null, reach: REACH }],
		notes: [
			`${alarms} alarms a round, one worker; round by round ${ratios}; median ratio ${(median(samples) / median(one)).toFixed(2)}`,
		],
	};
}
