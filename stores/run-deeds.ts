import type { Run, RunKind } from "../contracts/archive.ts";
import { archiveMonth, type MoveDeps } from "./archive-month.ts";
import { dropMonth } from "./drop-month.ts";

/** What each kind of run does: step by step, each of which may be the last of this process. */
export type Deed = (deps: MoveDeps, run: Run) => AsyncGenerator<string, void, void>;

export const DEEDS: Partial<Record<RunKind, Deed>> = {
	archive: (deps, { id, shard, month, fresh = false }) =>
		archiveMonth(deps, { run: id, shard, month: month ?? "", fresh }),
	drop,
};

async function* drop(deps: MoveDeps, { id, shard, month }: Run): AsyncGenerator<string, void, void> {
	await dropMonth(deps, { run: id, shard, month: month ?? "" });
	yield "dropped";
}
