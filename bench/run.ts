import { parseArgs } from "node:util";
import { onStopSignal } from "../ops/start/signals.ts";
import { exitWith } from "./exit.ts";
import { exitCodeOf, type Figure, judge } from "./figure.ts";
import { archive } from "./figures/archive.ts";
import { archiveReads } from "./figures/archive-reads.ts";
import { bulk } from "./figures/bulk.ts";
import { creation } from "./figures/creation.ts";
import { lanes } from "./figures/lanes.ts";
import { latency } from "./figures/latency.ts";
import { ledger } from "./figures/ledger.ts";
import { mongods } from "./figures/mongods.ts";
import { moveCopy } from "./figures/move-copy.ts";
import { moves } from "./figures/moves.ts";
import { outage } from "./figures/outage.ts";
import { reading } from "./figures/reading.ts";
import { storing } from "./figures/storing.ts";
import { type Lab, type LabOptions, withLab } from "./lab.ts";
import { loadLine, notesOf, tableOf } from "./report.ts";
import type { Stage } from "./stage.ts";

// `npm run bench`: every figure beside its raw baseline, on real servers of its own.

const FULL = {
	...{ rounds: 5, windowMs: 4_000, warmMs: 1_000 },
	...{
		backlog: 200_000,
		flood: 1_000_000,
		customers: 10_000,
		month: 1_000_000,
		copied: 50_000,
		moved: 60_000,
		shard: 1_000_000,
		spread: 100_000,
	},
};
const QUICK = {
	...{ rounds: 3, windowMs: 1_200, warmMs: 200 },
	...{
		backlog: 100_000,
		flood: 200_000,
		customers: 5_000,
		month: 200_000,
		copied: 50_000,
		moved: 40_000,
		shard: 200_000,
		spread: 50_000,
	},
};
const ALARMS_EACH = 60;
type Size = typeof FULL;

/** Each group has servers of its own, so that what one leaves behind does not slow the next. */
const GROUPS: Record<string, (stage: Stage, size: Size, signal: AbortSignal) => Promise<Figure[]>> = {
	creation: (stage) => creation(stage),
	outage: (stage) => outage(stage),
	bulk: (stage) => bulk(stage),
	storing: (stage, { backlog }) => storing(stage, backlog),
	ledger: (stage) => ledger(stage),
	latency: (stage) => latency(stage),
	lanes: (stage, { flood }) => lanes(stage, flood),
	reading: (stage, { customers }) => reading(stage, customers, ALARMS_EACH),
	archive: (stage, { month, copied }) => archive(stage, { month, copied }),
	"archive-reads": (stage, { customers, moved }) => archiveReads(stage, { customers: customers / 2, moved }),
	moves: (stage, { shard }) => moves(stage, shard),
	"move-copy": (stage, { copied }) => moveCopy(stage, copied),
	mongods: (stage, { spread }, signal) => mongods(stage, spread, signal),
};

/** Few shards where months are archived, so that each has many alarms. */
const LABS: Record<string, LabOptions> = {
	archive: { archive: true, shards: 4, monthsBack: 12 },
	"archive-reads": { archive: true, shards: 4, monthsBack: 12 },
	moves: { shards: 4, monthsBack: 4 },
	"move-copy": { shards: 16, monthsBack: 2 },
};

const { values } = parseArgs({
	options: { quick: { type: "boolean" }, json: { type: "boolean" }, only: { type: "string" } },
});
const startMs = Date.now();

function say(text: string): void {
	process.stderr.write(`[${((Date.now() - startMs) / 1_000).toFixed(0).padStart(3)} s] ${text}\n`);
}

async function measure(name: string, signal: AbortSignal): Promise<Figure[]> {
	const group = GROUPS[name];
	if (group === undefined) throw new Error(`there is no figure "${name}"; there are ${Object.keys(GROUPS).join(", ")}`);
	const size = values.quick ? QUICK : FULL;
	say(`${name}: starting servers (${loadLine()})`);
	const work = async (lab: Lab) => {
		const load = await lab.start("load/process");
		return await group({ lab, load, say, ...size }, size, signal);
	};
	return await withLab(signal, work, LABS[name]);
}

async function main(): Promise<number> {
	const stop = new AbortController();
	onStopSignal(
		() => stop.abort(new Error("stopped")),
		() => process.exit(130),
	);
	const figures: Figure[] = [];
	for (const name of values.only?.split(",") ?? Object.keys(GROUPS))
		figures.push(...(await measure(name, stop.signal)));
	const verdicts = figures.flatMap(judge);
	if (values.json) console.log(JSON.stringify({ at: new Date().toISOString(), verdicts, figures }, null, "\t"));
	else console.log(`\n${tableOf(verdicts)}\n\n${notesOf(figures)}`);
	const code = exitCodeOf(verdicts);
	if (code === 2)
		say("VOID: a raw baseline is far below its band: the machine is busy, or the baseline is bad. Run again.");
	say(`done (${loadLine()})`);
	return code;
}

await exitWith(main);
