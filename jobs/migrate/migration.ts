import type { Run } from "../../contracts/archive.ts";
import { showId } from "../../domain/alarms/ids.ts";
import { FeedLost } from "../../stores/copy/change-feed.ts";
import type { WrongRows } from "../../stores/copy/online-copy.ts";
import type { LockDeps } from "../lock/shard-lock.ts";

/** What moving a month into the archive and moving a whole shard to another cluster have in common. */

export interface MoveDeps extends LockDeps {
	/** Waits until so many more rows may be read; throws to end the run. */
	pace: (rows: number) => Promise<void>;
	onProgress: (progress: Progress) => void;
	/** Hears of troubles that pass. */
	onError: (error: unknown) => void;
}

export interface Progress extends Partial<Run["rows"]> {
	/** Of `done`, what an earlier attempt had copied. */
	before?: number;
}

/** In this order, each cut off or gone on with by whoever comes next. */
export const MOVE_STEPS = [
	"taken",
	"copied",
	"caught up",
	"verified",
	"fenced",
	"drained",
	"switched",
	"renamed",
	"settled",
] as const;
export type MoveStep = (typeof MOVE_STEPS)[number];

type RejectionCode =
	| "CLUSTER_RETIRING"
	| "CLUSTER_UNKNOWN"
	| "COPY_DIFFERS"
	| "FENCE_LIFTED"
	| "MONTH_DROPPED"
	| "MONTH_TOO_YOUNG"
	| "MONTH_UNKNOWN"
	| "NOT_ARCHIVED"
	| "NOT_DUE"
	| "TARGET_NOT_EMPTY";

/** Not to be tried again by itself: somebody has to look. */
export class MoveRejected extends Error {
	override readonly name = "MoveRejected";
	readonly code: RejectionCode;
	constructor(code: RejectionCode, message: string) {
		super(message);
		this.code = code;
	}
}

/** Goes through the steps; begins anew, without earlier copies, when the oplog no longer reaches back to their beginning. */
export async function* restartIfOplogLost<W extends { fresh?: boolean }>(
	{ onError }: Pick<MoveDeps, "onError">,
	work: W,
	attempt: (work: W & { fresh: boolean }) => AsyncGenerator<MoveStep, void, void>,
): AsyncGenerator<MoveStep, void, void> {
	for (let fresh = work.fresh ?? false; ; fresh = true) {
		try {
			return yield* attempt({ ...work, fresh });
		} catch (error) {
			if (!(error instanceof FeedLost)) throw error;
			onError(error);
		}
	}
}

/** The pace of a comparison that begins: it takes as long as the copy, and must be seen to go on. */
export function paceOfComparing({ onProgress, pace }: Pick<MoveDeps, "onProgress" | "pace">): MoveDeps["pace"] {
	let verified = 0;
	return (rows) => {
		verified += rows;
		onProgress({ verified });
		return pace(rows);
	};
}

/** @throws {MoveRejected} naming some of the rows. */
export function rejectIfDifferent([wrong]: WrongRows[], shard: number): void {
	if (wrong === undefined) return;
	const { collection, ids } = wrong;
	const named = ids.slice(0, 5).map(showId).join(", ");
	throw new MoveRejected(
		"COPY_DIFFERS",
		`${ids.length} rows of the copy of ${collection}, shard ${shard}, differ from their source: ${named}; nothing was switched or dropped`,
	);
}
