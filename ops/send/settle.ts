import { inParallel, pause } from "./parallel.ts";
import { judgeStatus, type Rejection, type Reply } from "./replies.ts";
import type { RestApi } from "./rest.ts";
import type { Reconciliation } from "./send-account.ts";

/** What asking for statuses needs. `waitMs` is for ids that are not at an end yet; each id is asked for at least once. */
export interface Asking {
	api: RestApi;
	book: Reconciliation;
	concurrency: number;
	waitMs: number;
	signal: AbortSignal;
}

/** Between two rounds of questions: nobody needs to know sooner, and the workers need the machine. */
const ROUND_PAUSE_MS = 250;

/** Asks for each accepted id, in rounds, until all are at an end or the wait is over. */
export async function settleAll(asking: Asking): Promise<void> {
	const { book, waitMs, signal } = asking;
	const endMs = Date.now() + waitMs;
	while (book.openIds.size > 0 && !signal.aborted) {
		await askRound(asking);
		if (book.openIds.size === 0 || Date.now() >= endMs) return;
		await pause(ROUND_PAUSE_MS, signal);
	}
}

/** The ids are taken from the live map, from which each answered one goes away. */
async function askRound({ api, book, concurrency, signal }: Asking): Promise<void> {
	await inParallel(book.openIds.keys(), concurrency, async (id) => {
		if (signal.aborted) return;
		const reply = await api.get(`/v1/alarms/${encodeURIComponent(id)}/status`);
		if (signal.aborted && reply.kind === "none") return;
		book.noteFate(id, judgeStatus(reply), whyOf(reply));
	});
}

/** The service's own words on a failure. */
function whyOf(reply: Reply): Rejection {
	const { why, code = "", detail = "" } = (reply.kind === "answer" ? (reply.body ?? {}) : {}) as Told;
	return why ?? { code, message: detail };
}

/** A status, or a problem+json. */
interface Told {
	why?: Rejection;
	code?: string;
	detail?: string;
}
