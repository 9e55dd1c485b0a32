import { SHARD_CATALOG } from "../../domain/routing/collection-catalog.ts";
import { addMonths, monthOf } from "../../domain/time/periods.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import type { Child } from "../child.ts";
import type { Figure } from "../figure.ts";
import type { Lab } from "../lab.ts";
import { arrivals, putInto, targetIn } from "../months.ts";
import type { MoverQuestion, StepTimes } from "../mover.ts";
import type { CopyQuestion } from "../raw/copy.ts";
import { customersOf } from "../sample.ts";
import type { Stage } from "../stage.ts";
import { median } from "../stats.ts";

/** A customer has some thirty alarms in a month. */
const ALARMS_EACH = 30;
const MONTHS = 2;

/** How fast a shard's rows get to another cluster, unpaced, against a loop that only reads and inserts the same collections. */
export async function moveCopy(stage: Stage, rows: number): Promise<Figure[]> {
	const clusters = new Clusters(stage.lab.config);
	const mover = await stage.lab.start("mover", { args: [JSON.stringify(stage.lab.env)] });
	const bare = await stage.lab.start("raw/copy");
	const rates: Rates = { bare: [], copied: [], verified: [], wholeMs: [] };
	try {
		// A shard per round, all of them on c0, and one that does not count.
		for (let round = 0; round <= stage.rounds; round++)
			await oneShard({ stage, clusters, mover, bare }, round, rows, rates);
	} finally {
		await clusters.close();
	}
	return figuresOf(rates, rows);
}

interface Rates {
	bare: number[];
	copied: number[];
	verified: number[];
	/** Of the whole move, to its end. */
	wholeMs: number[];
}

interface Scene {
	stage: Stage;
	clusters: Clusters;
	mover: Child;
	bare: Child;
}

async function oneShard(
	{ stage, clusters, mover, bare }: Scene,
	round: number,
	rows: number,
	rates: Rates,
): Promise<void> {
	const shard = round * 2;
	const { map } = stage.lab;
	const months = Array.from({ length: MONTHS }, (_, back) => addMonths(monthOf(Date.now()), -back - 1));
	const customers = customersOf(shard, map.shards.length, Math.ceil(rows / MONTHS / ALARMS_EACH));
	for (const month of months)
		await putInto(clusters, targetIn(map, shard, month), arrivals(month, customers, rows / MONTHS));
	const bareMs: number[] = [];
	for (const month of months) {
		const perS = await bare.ask<number>(copyQuestion(stage.lab, targetIn(map, shard, month)));
		bareMs.push((rows / MONTHS / perS) * 1_000);
	}
	const steps = await mover.ask<StepTimes>({ kind: "move", shard, to: "c1" } satisfies MoverQuestion);
	const { taken = 0, copied = 0, verified = 0, settled = 0 } = steps;
	const one = {
		bare: (rows * 1_000) / bareMs.reduce((all, ms) => all + ms, 0),
		copied: (rows * 1_000) / (copied - taken),
		verified: (rows * 1_000) / (verified - taken),
		wholeMs: settled,
	};
	stage.say(
		`move-copy · ${round === 0 ? "warming" : `round ${round}/${stage.rounds}`}: bare loop ${Math.round(one.bare)}/s, copied ${Math.round(one.copied)}/s, copied and verified ${Math.round(one.verified)}/s, moved in ${Math.round(settled)} ms`,
	);
	if (round > 0) for (const key of Object.keys(rates) as (keyof Rates)[]) rates[key].push(one[key]);
}

function copyQuestion({ config }: Lab, { cluster, database, collection }: ReturnType<typeof targetIn>): CopyQuestion {
	const uriOf = (name: string) => config.serviceClusters.find((one) => one.name === name)?.uri ?? "";
	return {
		from: { uri: uriOf(cluster), database, collection },
		to: { uri: uriOf("c1"), database: "bare", collection: `${database}_${collection}` },
		engine: SHARD_CATALOG.alarms.engine,
	};
}

function figuresOf({ bare, copied, verified, wholeMs }: Rates, rows: number): Figure[] {
	const figure = (key: string, name: string, samples: number[], reach: number | null): Figure => ({
		...{ key, name, unit: "/s", samples },
		baselines: [{ name: "bare read-and-insert loop", samples: bare, band: null, reach }],
		notes: [
			`${rows} alarms in ${MONTHS} months a round; ratios ${samples.map((one, at) => (one / (bare[at] ?? 0)).toFixed(2)).join(", ")}`,
		],
	});
	const whole = figure("move-verify", "shard copied and verified", verified, null);
	whole.notes.push(
		`a whole move of it, with all collections made and renamed: ${(median(wholeMs) / 1_000).toFixed(1)} s`,
	);
	return [figure("move-copy", "shard copied", copied, 0.5), whole];
}
