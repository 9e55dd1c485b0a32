import { CommanderError } from "commander";
import { ConfigFault, readConfig } from "../config.ts";
import type { AuditProgress, AuditReport } from "../contracts/audit.ts";
import { exitCodeOf } from "../domain/jobs/reconcile.ts";
import { audit } from "../jobs/reconcile/reconcile.ts";
import { Clusters } from "../stores/mongo/clusters.ts";
import { environmentOf, readLocal } from "./local.ts";
import { type Options, readOptions } from "./reconcile/options.ts";
import { toText, toVerdict } from "./reconcile/report.ts";
import { withProgress } from "./send/progress.ts";
import { onStopSignal } from "./start/signals.ts";

// `npm run reconcile`: holds the ledger against the slots. Exit code 0: everything that was accepted stands in exactly one slot;
// 1: something is lost or doubled; 2: not everything could be judged.

const CANNOT_SAY = 2;
const TITLES = { accounts: "accounts", waiting: "waiting ", rows: "checking", again: "again   " } as const;

async function main(): Promise<number> {
	const options = readOptions(process.argv.slice(2), Date.now());
	const clusters = new Clusters(readConfig(environmentOf(readLocal())));
	try {
		const report = await reconcile(clusters, options);
		const code = exitCodeOf(report);
		process.stdout.write(`${options.json ? JSON.stringify(report) : toText(report)}\n`);
		(options.json ? process.stderr : process.stdout).write(`${toVerdict(report, code)}\n`);
		return code;
	} finally {
		await clusters.close();
	}
}

async function reconcile(clusters: Clusters, options: Options): Promise<AuditReport> {
	const stop = new AbortController();
	onStopSignal(
		() => stop.abort(),
		() => process.exit(130),
	);
	let last: AuditProgress = { phase: "accounts", part: 0, words: "" };
	const onProgress = (progress: AuditProgress) => {
		last = progress;
	};
	const step = () => ({ part: last.part, words: `${TITLES[last.phase]} ${last.words}` });
	return withProgress("reconciling", step, () => audit({ clusters, ...options, onProgress, signal: stop.signal }));
}

/** Commander has said itself what is wrong; what lies outside of us, or was wanted, is told without a stack. */
function complain(error: unknown): number {
	if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : CANNOT_SAY;
	const { type, name } = (error ?? {}) as { type?: unknown; name?: unknown };
	const isPlain = error instanceof ConfigFault || type === "UNAVAILABLE" || name === "AbortError";
	process.stderr.write(`${error instanceof Error ? (isPlain ? error.message : error.stack) : error}\n`);
	return CANNOT_SAY;
}

try {
	process.exitCode = await main();
} catch (error) {
	process.exitCode = complain(error);
}
// run.mjs keeps a channel open that would keep us alive. What stands in the pipe goes out first.
process.stdout.write("", () => process.exit());
