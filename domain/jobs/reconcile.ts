import { OUTCOMES, type Outcome } from "../../contracts/alarm.ts";
import type { AuditReport, BatchesAndIds, Counted } from "../../contracts/audit.ts";
import type { NumberRange } from "../alarms/batch-numbers.ts";
import { showId } from "../alarms/ids.ts";
import type { Target } from "../routing/routing.ts";
import { dayOf, daysBefore } from "../time/periods.ts";

/** What the ledger and the slots prove of each other: a promised batch without a row, an id without a slot, an id with two. */

/** A process's account as it lies in the ledger of one day. */
export interface AccountRow {
	epoch: string;
	day: string;
	settled: number;
	voids: NumberRange[];
	atMs: number;
}

/** What one process says of all the days that are looked at. */
export interface EpochAccount {
	/** What it had settled on the days before: not this check's business. */
	floor: number;
	settled: number;
	/** In order. */
	voids: NumberRange[];
	atMs: number;
	/** False when it ended on a day before. */
	isInside: boolean;
}

/** The ledger day before another, as `2026_11_22`. */
export function dayBefore(day: string): string {
	return dayOf(daysBefore(Date.parse(day.replaceAll("_", "-")), 1));
}

/** One account per process. Days before `firstDay` only say where to begin. */
export function accountsByEpoch(rows: AccountRow[], firstDay: string): Map<string, EpochAccount> {
	const byEpoch = Map.groupBy(rows, ({ epoch }) => epoch);
	return new Map([...byEpoch].map(([epoch, own]) => [epoch, accountOf(own, firstDay)]));
}

/** Accounts only grow: the one that has settled most is the newest, whichever cluster it lies on. */
function accountOf(rows: AccountRow[], firstDay: string): EpochAccount {
	const newest = rows.reduce((one, other) => (other.settled > one.settled ? other : one));
	const before = rows.filter(({ day }) => day < firstDay).map(({ settled }) => settled);
	const voids = newest.voids.toSorted(([one], [other]) => one - other);
	const isInside = before.length < rows.length;
	return { floor: Math.max(0, ...before), settled: newest.settled, voids, atMs: newest.atMs, isInside };
}

/** What is left of a run of numbers when ordered others are taken out, the first of which to look at is the `begin`th. */
export function without([from, to]: NumberRange, taken: NumberRange[], begin = 0): NumberRange[] {
	const left: NumberRange[] = [];
	let next = from;
	for (let at = begin; at < taken.length; at++) {
		const [start, end] = taken[at] as NumberRange;
		if (start > to) break;
		if (end < next) continue;
		if (start > next) left.push([next, start - 1]);
		next = end + 1;
	}
	if (next <= to) left.push([next, to]);
	return left;
}

/** Finds what is missing among the batch numbers of one process, which it is shown in order. */
class GapFinder {
	/** Promised, and without a row. */
	readonly promised: NumberRange[] = [];
	/** Nobody knows whether they were promised. */
	readonly unaccounted: NumberRange[] = [];
	readonly #account: EpochAccount | undefined;
	#last: number | null;
	/** Voids before this one lie behind what was shown already. */
	#voidAt = 0;
	/** Above what was settled: in flight, unless a row behind them is old. */
	#open: NumberRange[] = [];

	constructor(account: EpochAccount | undefined) {
		this.#account = account;
		this.#last = account?.floor ?? null;
	}

	/** `isOld`: stored so long ago that nothing numbered before it can still be on its way. */
	see(number: number, isOld: boolean): void {
		const last = this.#last ?? number - 1;
		if (number > last) {
			this.#missing([last + 1, number - 1]);
			this.#last = number;
		}
		if (isOld) for (const range of this.#open.splice(0)) this.unaccounted.push(range);
	}

	/** No more rows: what was settled behind the last one is missing, too. */
	end(): void {
		if (this.#account !== undefined) this.#missing([(this.#last ?? 0) + 1, this.#account.settled]);
	}

	#missing([from, to]: NumberRange): void {
		const { settled = Number.NEGATIVE_INFINITY, voids = [] } = this.#account ?? {};
		while ((voids[this.#voidAt]?.[1] ?? from) < from) this.#voidAt++;
		if (from <= Math.min(to, settled))
			for (const range of without([from, Math.min(to, settled)], voids, this.#voidAt)) this.promised.push(range);
		if (Math.max(from, settled + 1) <= to) this.#open.push([Math.max(from, settled + 1), to]);
	}
}

/** A ledger row as far as its number goes. */
export interface NumberedRow {
	epoch: string;
	number: number;
	atMs: number;
	/** Of a day that is looked at, and not only there to fill gaps. */
	isInside: boolean;
}

export type GapNote = (
	epoch: string,
	numbers: NumberRange,
	as: "lost" | "unaccounted" | "pending" | "unjudged",
) => void;

/** Finds the gaps of all processes; rows must come process by process. */
export class GapBook {
	readonly #accounts: Map<string, EpochAccount>;
	readonly #watermarkMs: number;
	readonly #allAnswer: () => boolean;
	readonly #note: GapNote;
	#epoch: string | null = null;
	#finder = new GapFinder(undefined);
	#isInside = false;

	/** `allAnswer` turns false when a ledger cannot be read any more. */
	constructor(
		accounts: ReadonlyMap<string, EpochAccount>,
		watermarkMs: number,
		allAnswer: () => boolean,
		note: GapNote,
	) {
		this.#accounts = new Map(accounts);
		this.#watermarkMs = watermarkMs;
		this.#allAnswer = allAnswer;
		this.#note = note;
	}

	see({ epoch, number, atMs, isInside }: NumberedRow): void {
		if (epoch !== this.#epoch) {
			this.#close();
			this.#open(epoch);
		}
		this.#isInside ||= isInside;
		this.#finder.see(number, atMs < this.#watermarkMs);
	}

	/** No more rows. Processes that have promised and have none at all are still to come. */
	end(): void {
		this.#close();
		for (const epoch of [...this.#accounts.keys()]) {
			this.#open(epoch);
			this.#close();
		}
	}

	#open(epoch: string): void {
		const account = this.#accounts.get(epoch);
		this.#epoch = epoch;
		this.#finder = new GapFinder(account);
		this.#isInside = account?.isInside ?? false;
	}

	#close(): void {
		if (this.#epoch === null) return;
		const [epoch, account] = [this.#epoch, this.#accounts.get(this.#epoch)];
		this.#finder.end();
		if (this.#isInside) {
			const as = judgeGap(account?.atMs ?? 0, this.#watermarkMs, this.#allAnswer());
			for (const numbers of this.#finder.promised) this.#note(epoch, numbers, as);
			for (const numbers of this.#finder.unaccounted) this.#note(epoch, numbers, "unaccounted");
		}
		this.#accounts.delete(epoch);
		this.#epoch = null;
	}
}

/** How a gap among promised numbers counts; `promisedMs` is the time of the account that promised them. */
function judgeGap(promisedMs: number, watermarkMs: number, allAnswer: boolean) {
	if (!allAnswer) return "unjudged";
	return promisedMs < watermarkMs ? "lost" : "pending";
}

/** One place where a slot was found. `at` is the collection with its cluster: `c0/alarm_s03.alarms_2026_11`. */
export interface FoundSlot {
	at: string;
	outcome?: Outcome;
}

export function placeName({ cluster, database, collection }: Pick<Target, "cluster" | "database" | "collection">) {
	return `${cluster}/${database}.${collection}`;
}

/** What is known of one id besides its slots. */
interface IdCircumstances {
	/** Where its slot must be; null when its month has no collection. */
	proper: Target | null;
	/** Where the source of its month still may be after the month was archived. */
	source: Omit<Target, "tier"> | null;
	/** A row among the failures, which is all that an id of a closed month has. */
	hasFailure: boolean;
	/** Stored so long ago that no part of its batch can still be on its way. */
	isOld: boolean;
	/** False while a cluster does not answer: then what was not found may be there. */
	allAnswer: boolean;
}

export type IdVerdict = "missing" | "doubled" | "misplaced" | "pending" | "unjudged" | "stored" | Outcome;

/** What the places of an id mean. */
export function judgeId(
	everywhere: FoundSlot[],
	{ proper, source, hasFailure, isOld, allAnswer }: IdCircumstances,
): IdVerdict {
	const found = source === null ? everywhere : everywhere.filter(({ at }) => at !== placeName(source));
	const [first] = found;
	if (first === undefined) {
		if (hasFailure) return "failed";
		if (!allAnswer) return "unjudged";
		return isOld ? "missing" : "pending";
	}
	const own = proper === null ? undefined : found.find(({ at }) => at === placeName(proper));
	// While a month moves, its copy grows beside it.
	if (found.length > 1 && (own === undefined || proper?.tier !== "moving")) return "doubled";
	return own === undefined ? "misplaced" : (own.outcome ?? "stored");
}

/** Verdicts that may come of a map or a listing that changed meanwhile: looked at once more before they count. */
export function isSuspicion(verdict: IdVerdict): boolean {
	return verdict === "missing" || verdict === "doubled" || verdict === "misplaced";
}

/** Of each list in the report, as many are kept. */
const KEPT = 100;

/** Adds up what a reconciliation finds; its lists are bounded, its counts are whole. */
export class Findings {
	#batches = 0;
	#ids = 0;
	#erased = 0;
	readonly #slots: AuditReport["slots"] = { stored: 0, ...noOutcomes() };
	readonly #pending: BatchesAndIds = { batches: 0, ids: 0 };
	readonly #unjudged: BatchesAndIds = { batches: 0, ids: 0 };
	readonly #lists = {
		lostBatches: none<AuditReport["lostBatches"]>(),
		unaccounted: none<AuditReport["unaccounted"]>(),
		missing: none<AuditReport["missing"]>(),
		doubled: none<AuditReport["doubled"]>(),
		misplaced: none<AuditReport["misplaced"]>(),
		doubledBatches: none<AuditReport["doubledBatches"]>(),
	};

	get ids(): number {
		return this.#ids;
	}

	/** Ids that could not be judged. */
	get unjudged(): number {
		return this.#unjudged.ids;
	}

	noteBatch(ids: number, erased = 0): void {
		this.#batches++;
		this.#ids += ids;
		this.#erased += erased;
	}

	/** An id of a batch that was noted is in it no more. */
	noteErased(): void {
		this.#ids--;
		this.#erased++;
	}

	noteGap(...[epoch, numbers, as]: Parameters<GapNote>): void {
		const count = numbers[1] - numbers[0] + 1;
		if (as === "lost") keep(this.#lists.lostBatches, { epoch, numbers }, count);
		else if (as === "unaccounted") keep(this.#lists.unaccounted, { epoch, numbers }, count);
		else (as === "pending" ? this.#pending : this.#unjudged).batches += count;
	}

	noteId(id: Uint8Array, verdict: IdVerdict, found: FoundSlot[]): void {
		const { missing, doubled, misplaced } = this.#lists;
		const places = found.map(({ at }) => at);
		if (verdict === "missing") keep(missing, showId(id));
		else if (verdict === "doubled") keep(doubled, { id: showId(id), places });
		else if (verdict === "misplaced") keep(misplaced, { id: showId(id), place: places[0] ?? "" });
		else if (verdict === "pending") this.#pending.ids++;
		else if (verdict === "unjudged") this.#unjudged.ids++;
		else this.#slots[verdict]++;
	}

	noteTwice(id: Uint8Array, batches: string[]): void {
		keep(this.#lists.doubledBatches, { id: showId(id), batches });
	}

	report(of: { from: string; to: string; watermarkMs: number | null; unknown: string[] }): AuditReport {
		const { from, to, watermarkMs, unknown } = of;
		const counts = { batches: this.#batches, ids: this.#ids, erased: this.#erased, slots: this.#slots };
		const open = { pending: this.#pending, unjudged: this.#unjudged };
		const lowWatermark = watermarkMs === null ? null : new Date(watermarkMs).toISOString();
		const wrong = wrongOf(this.#lists);
		return structuredClone({ from, to, lowWatermark, ...counts, ...open, ...this.#lists, wrong, unknown });
	}
}

function noOutcomes(): Record<Outcome, number> {
	return Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<Outcome, number>;
}

function none<L extends Counted<unknown>>(): L {
	return { count: 0, kept: [] } as unknown as L;
}

function keep<T>(list: Counted<T>, one: T, count = 1): void {
	list.count += count;
	if (list.kept.length < KEPT) list.kept.push(one);
}

/** Lists that must be empty, with the words for what is in them. */
const MUST_BE_EMPTY = {
	lostBatches: "promised batches were never stored",
	missing: "ids have no slot",
	doubled: "ids have more than one slot",
	misplaced: "ids have their slot where no reader looks",
	doubledBatches: "ids stand in two batches",
} as const;

function wrongOf(lists: Pick<AuditReport, keyof typeof MUST_BE_EMPTY>): string[] {
	const names = Object.keys(MUST_BE_EMPTY) as (keyof typeof MUST_BE_EMPTY)[];
	return names.filter((name) => lists[name].count > 0).map((name) => `${lists[name].count} ${MUST_BE_EMPTY[name]}`);
}

/** 0: everything accepted is there, once; 1: something is lost or doubled; 2: nothing wrong was found, but not all could be judged. */
export function exitCodeOf({ wrong, unknown, pending, unjudged }: AuditReport): 0 | 1 | 2 {
	if (wrong.length > 0) return 1;
	const open = pending.batches + pending.ids + unjudged.batches + unjudged.ids;
	return open > 0 || unknown.length > 0 ? 2 : 0;
}
