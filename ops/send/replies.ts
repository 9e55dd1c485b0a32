import type { FieldFault } from "../../contracts/alarm.ts";
import { ERRORS, isErrorCode } from "../../contracts/errors.ts";

/** What came back for a request: an answer, or none; `reached` says whether the request may have arrived. */
export type Reply =
	| { kind: "answer"; status: number; body: unknown; retryAfterS?: number }
	| { kind: "none"; reached: boolean; cause: string };

/** Why an alarm was not accepted, in the service's words where it has answered. */
export interface Rejection {
	code: string;
	message: string;
	faults?: FieldFault[];
}

/** What a reply means for one line. Only `retry` may be sent again: for all others it has been decided, or could double. */
export type LineVerdict =
	| { kind: "accepted"; id: string }
	| { kind: "rejected"; rejection: Rejection }
	| { kind: "unknown"; rejection: Rejection; ids: string[]; pauseMs: number }
	| { kind: "retry"; rejection: Rejection; pauseMs: number };

/** What has become of an id; the last two are no end. */
export type Fate = Ending | "pending" | "unanswered";
export type Ending = (typeof ENDINGS)[number];
export const ENDINGS = ["stored", "failed", "duplicate", "expired", "canceled", "missing"] as const;

/** A problem+json, or the error of one item of a bulk answer: whatever of it is there. */
interface Problem {
	code?: unknown;
	detail?: unknown;
	message?: unknown;
	faults?: FieldFault[];
	ids?: string[];
}

const PAUSE_UNTOLD_S = 1;
const PAUSE_LONGEST_S = 30;
/** A server that says "at once" is not hammered all the same. */
const PAUSE_SHORTEST_S = 0.1;
/** Answers that blame what was sent: one line of a bulk request can cause them for all of its lines. */
const BLAMES_THE_BODY = new Set([400, 413, 422]);

/** The verdict on the alarm of POST /v1/alarms. */
export function judgeSingle(reply: Reply): LineVerdict {
	if (reply.kind === "none") return judgeSilence(reply);
	return isSuccess(reply) ? judgeAccepted(reply.body) : judgeProblem(reply.body, reply.status, reply.retryAfterS);
}

/** The verdicts on each alarm of POST /v1/alarms/bulk, in order. */
export function judgeBulk(reply: Reply, count: number): LineVerdict[] {
	if (reply.kind === "none") return repeat(judgeSilence(reply), count);
	const { items, ids } = objectOf(reply.body) as { items?: unknown; ids?: unknown };
	if (isSuccess(reply)) {
		return Array.isArray(items) && items.length === count ? items.map(judgeItem) : repeat(UNREADABLE, count);
	}
	const whole = judgeProblem(reply.body, reply.status, reply.retryAfterS);
	return whole.kind === "unknown" && Array.isArray(ids) ? withIds(whole, ids, count) : repeat(whole, count);
}

/** Whether a bulk request was refused as a whole because of one of its lines: its halves are then sent apart. */
export function mustHalve(reply: Reply, count: number): boolean {
	return count > 1 && reply.kind === "answer" && BLAMES_THE_BODY.has(reply.status);
}

/** The end of a line that was refused for the moment, again and again: nothing of it has been accepted. */
export function giveUp({ rejection }: { rejection: Rejection }): LineVerdict & { kind: "rejected" } {
	return { kind: "rejected", rejection };
}

/** What GET /v1/alarms/{id}/status says. Only the service's own "unknown" means missing, not a proxy's 404. */
export function judgeStatus(reply: Reply): Fate {
	if (reply.kind === "none") return "unanswered";
	const { status, code } = objectOf(reply.body) as { status?: unknown; code?: unknown };
	if (reply.status === 404 && code === "UNKNOWN_ALARM") return "missing";
	return reply.status === 200 && isFate(status) ? status : "unanswered";
}

function repeat(verdict: LineVerdict, count: number): LineVerdict[] {
	return Array.from({ length: count }, () => verdict);
}

function isFate(status: unknown): status is Ending | "pending" {
	return status === "pending" || (ENDINGS as readonly unknown[]).includes(status);
}

function isSuccess({ status }: { status: number }): boolean {
	return status >= 200 && status < 300;
}

function objectOf(body: unknown): object {
	return typeof body === "object" && body !== null ? body : {};
}

const UNREADABLE: LineVerdict = {
	kind: "unknown",
	rejection: { code: "UNREADABLE_ANSWER", message: "The answer says neither an id nor a refusal." },
	ids: [],
	pauseMs: 0,
};

function judgeAccepted(body: unknown): LineVerdict {
	const { id } = objectOf(body) as { id?: unknown };
	return typeof id === "string" && id !== "" ? { kind: "accepted", id } : UNREADABLE;
}

/** An item carries no status of its own; its code stands for one. */
function judgeItem(item: unknown): LineVerdict {
	const { error } = objectOf(item) as { error?: Problem };
	if (error === undefined) return judgeAccepted(item);
	return judgeProblem(error, isErrorCode(error?.code) ? ERRORS[error.code].status : 500);
}

function judgeProblem(body: unknown, status: number, retryAfterS = PAUSE_UNTOLD_S): LineVerdict {
	const problem = objectOf(body) as Problem;
	const rejection = rejectionOf(problem, status);
	const pauseMs = Math.min(Math.max(retryAfterS, PAUSE_SHORTEST_S), PAUSE_LONGEST_S) * 1_000;
	if (status === 429 || rejection.code === "OVERLOADED") return { kind: "retry", rejection, pauseMs };
	if (status >= 400 && status < 500) return { kind: "rejected", rejection };
	return { kind: "unknown", rejection, ids: problem.ids ?? [], pauseMs };
}

function rejectionOf({ code, detail, message, faults }: Problem, status: number): Rejection {
	return {
		code: typeof code === "string" ? code : `HTTP_${status}`,
		message: String(detail ?? message ?? `answered with status ${status}`),
		...(faults && { faults }),
	};
}

/** A request that never left cannot double; one that may have arrived could. */
function judgeSilence({ reached, cause }: { reached: boolean; cause: string }): LineVerdict {
	const pauseMs = PAUSE_UNTOLD_S * 1_000;
	if (!reached) return { kind: "retry", rejection: { code: "NOT_CONNECTED", message: cause }, pauseMs };
	return { kind: "unknown", rejection: { code: "NO_ANSWER", message: cause }, ids: [], pauseMs };
}

/** Ids of a problem with the whole request: in order where there is one for each line, else all with the first line. */
function withIds(whole: LineVerdict & { kind: "unknown" }, ids: string[], count: number): LineVerdict[] {
	const own = (at: number) => (ids.length === count ? ids.slice(at, at + 1) : at === 0 ? ids : []);
	return Array.from({ length: count }, (_, at) => ({ ...whole, ids: own(at) }));
}
