import { ENDINGS, type Ending, type Fate, type LineVerdict, type Rejection } from "./replies.ts";

/** The account of one sending: what was sent, what was accepted, and what has become of each accepted id. */

type Fates = Record<Fate, number>;

/** What is known of a sending. `sent = accepted + rejected + unknown`, and each accepted id has one of the fates. */
export interface Account extends Fates {
	lines: number;
	sent: number;
	accepted: number;
	rejected: number;
	invalid: number;
	unknown: number;
	/** Ids that were given to two lines. */
	duplicateIds: number;
	/** Requests that were sent again because nothing had been accepted. */
	retries: number;
	/** What became of ids whose acceptance was not known, where the service has named them. Missing: was not accepted. */
	ofUnknown: Fates;
	rejectedByCode: Record<string, number>;
	/** The first things that went wrong. */
	complaints: Complaint[];
}

export interface Complaint extends Rejection {
	line: number;
	what: "invalid" | "rejected" | "unknown" | "failed" | "missing" | "duplicate id";
	id?: string;
}

/** How a sending went in time, and whether somebody ended it early. */
export interface Course {
	sendingMs: number;
	/** From the first request until no id was open any more; null when some still are. */
	settledAfterMs: number | null;
	interrupted: boolean;
}

interface OpenId {
	line: number;
	doubtful: boolean;
	last: "pending" | "unanswered";
}

/** Of each kind of complaint, as many are kept. */
const COMPLAINTS_KEPT = 5;

/** Adds up replies and statuses. It keeps one small entry per open id and nothing of the alarms. */
export class Reconciliation {
	readonly #account = emptyAccount();
	readonly #open = new Map<string, OpenId>();
	readonly #kept = new Map<string, number>();

	get accepted(): number {
		return this.#account.accepted;
	}

	get openIds(): ReadonlyMap<string, unknown> {
		return this.#open;
	}

	/** A line that is no JSON, and was not sent. */
	noteInvalid(line: number, message: string): void {
		this.#account.lines++;
		this.#account.invalid++;
		this.#complain({ what: "invalid", line, code: "NOT_JSON", message });
	}

	noteRetry(): void {
		this.#account.retries++;
	}

	/** The final verdict on a line that was sent. */
	noteLine(line: number, verdict: Exclude<LineVerdict, { kind: "retry" }>): void {
		this.#account.lines++;
		this.#account.sent++;
		this.#account[verdict.kind]++;
		if (verdict.kind === "accepted") this.#noteId(verdict.id, line, false);
		else this.#complain({ ...verdict.rejection, what: verdict.kind, line });
		if (verdict.kind === "rejected") addOne(this.#account.rejectedByCode, verdict.rejection.code);
		if (verdict.kind === "unknown") for (const id of verdict.ids) this.#noteId(id, line, true);
	}

	/** What the service says of an open id. */
	noteFate(id: string, fate: Fate, why: Rejection = { code: "", message: "" }): void {
		const open = this.#open.get(id);
		if (open === undefined) return;
		if (fate === "pending" || fate === "unanswered") {
			open.last = fate;
			return;
		}
		this.#open.delete(id);
		(open.doubtful ? this.#account.ofUnknown : this.#account)[fate]++;
		if (isLoss(fate) && !open.doubtful) this.#complain({ ...why, what: fate, line: open.line, id });
	}

	/** All that is known now; ids that are still open count by their last answer. */
	account(): Account {
		const account = structuredClone(this.#account);
		account.complaints.sort((one, other) => one.line - other.line);
		for (const { doubtful, last } of this.#open.values()) (doubtful ? account.ofUnknown : account)[last]++;
		return account;
	}

	#noteId(id: string, line: number, doubtful: boolean): void {
		const before = this.#open.get(id);
		if (before === undefined) {
			this.#open.set(id, { line, doubtful, last: "unanswered" });
			return;
		}
		this.#account.duplicateIds++;
		this.#complain({ what: "duplicate id", line, id, code: "", message: `line ${before.line} has the same id` });
		// An id that was accepted once must be there, whatever another line says of it.
		before.doubtful &&= doubtful;
	}

	#complain(complaint: Complaint): void {
		const kept = this.#kept.get(complaint.what) ?? 0;
		if (kept >= COMPLAINTS_KEPT) return;
		this.#kept.set(complaint.what, kept + 1);
		this.#account.complaints.push(complaint);
	}
}

function emptyAccount(): Account {
	return {
		...{ lines: 0, sent: 0, accepted: 0, rejected: 0, invalid: 0, unknown: 0 },
		...noFates(),
		...{ duplicateIds: 0, retries: 0, ofUnknown: noFates(), rejectedByCode: {}, complaints: [] },
	};
}

function noFates(): Fates {
	const endings = Object.fromEntries(ENDINGS.map((ending) => [ending, 0])) as Record<Ending, number>;
	return { ...endings, pending: 0, unanswered: 0 };
}

function isLoss(fate: Ending): fate is "failed" | "missing" {
	return fate === "failed" || fate === "missing";
}

function addOne(counts: Record<string, number>, key: string): void {
	counts[key] = (counts[key] ?? 0) + 1;
}

/** What must be none for a sending to be right, in the order of how bad it is. */
const MUST_BE_NONE = ["missing", "failed", "duplicateIds", "unknown", "rejected", "invalid", "pending"] as const;

/** What is not right, a few words each; empty when every line was accepted and each of its ids has come to a good end. */
export function whatIsWrong(account: Account, { interrupted }: Course): string[] {
	const wrong = MUST_BE_NONE.filter((name) => account[name] > 0).map((name) => `${account[name]} ${wordOf(name)}`);
	if (account.unanswered > 0) wrong.push(`of ${account.unanswered} accepted the status is not known`);
	if (account.lines === 0) wrong.push("there was no line to send");
	return interrupted ? ["interrupted", ...wrong] : wrong;
}

function wordOf(name: (typeof MUST_BE_NONE)[number]): string {
	return name === "duplicateIds" ? "duplicate ids" : name === "pending" ? "still pending" : name;
}

/** Accepted alarms per second of sending; 0 when nothing was sent. */
export function acceptedPerSecond({ accepted }: Account, { sendingMs }: Course): number {
	return sendingMs > 0 ? Math.round((accepted / sendingMs) * 1_000) : 0;
}
