import type { Target } from "../domain/routing.ts";
import { type CopyPlace, dropCopies, finishCopy, type Leftover, makeCopy, takeOverCopy } from "./archive-copies.ts";
import { ChangeFeed } from "./change-feed.ts";
import type { Clusters } from "./clusters.ts";
import { type Comparison, compareAll, compareIds } from "./compare.ts";
import { beginMove, type MoveRow, writeMarker } from "./moves.ts";
import { insertRaw, type RawRow, rawId, readRaw, readRawByIds, replaceRaw } from "./raw-rows.ts";

/** Making a copy of a month that is equal to its source, while the source is written to. */

export interface CopyDeps {
	clusters: Clusters;
	/** Waits until so many more rows may be read. */
	pace: (rows: number) => Promise<void>;
	/** The pace of a comparison of both sides that begins. */
	comparing: () => CopyDeps["pace"];
	/** Throws when this process may go on no longer. Asked before every write to the copy. */
	mustHold: () => void;
	onRows: (many: number) => void;
}

interface Sides {
	source: Target;
	moves: Target;
	place: CopyPlace;
	epoch: number;
	/** What earlier attempts have left at the place. */
	left: Leftover[];
	/** Of the attempt whose copy is gone on with; null: all that was left is thrown away. */
	begun: MoveRow | null;
}

const CHUNK = 2_000;
/** Fewer changes than that in one round: the rest can be caught up inside the fence. */
const FEW = 500;
const ROUNDS = 20;

export class MonthCopy {
	readonly #deps: CopyDeps;
	readonly #sides: Sides;
	readonly #row: MoveRow;
	readonly #feed: ChangeFeed;
	/** Ids that have changed since the last whole comparison began. */
	readonly #changed = new Map<string, Buffer>();
	#copy: Target;

	private constructor(deps: CopyDeps, sides: Sides, row: MoveRow, copy: Target) {
		this.#deps = deps;
		this.#sides = sides;
		this.#row = row;
		this.#copy = copy;
		const { source, moves } = sides;
		const { cluster, database, collection } = source;
		this.#feed = new ChangeFeed(deps.clusters, { cluster, database, collection, markers: moves.collection }, row.since);
	}

	/** Goes on with the copy of an earlier attempt if its changes can still be told, else begins a new one. */
	static async begin(deps: CopyDeps, sides: Sides): Promise<MonthCopy> {
		const { place, epoch, left, begun } = sides;
		const copy = begun && (await takeOverCopy(place, left, begun.copy, epoch));
		if (begun !== null && copy !== null) return new MonthCopy(deps, sides, begun, copy);
		return MonthCopy.#fromNothing(deps, sides);
	}

	/** The copy is made before its row is written, so that the row can name it: no attempt takes one row's changes for another's copy. */
	static async #fromNothing(deps: CopyDeps, sides: Sides): Promise<MonthCopy> {
		const { place, left, epoch, moves, source } = sides;
		deps.mustHold();
		await dropCopies(place, left);
		const copy = await makeCopy(place, epoch);
		return new MonthCopy(deps, sides, await beginMove(deps.clusters, moves, source, copy), copy);
	}

	/** Copies what is still missing, in the order of `_id`: an earlier attempt's last row is where it goes on. */
	async copyRows(): Promise<void> {
		const { clusters, pace, mustHold, onRows } = this.#deps;
		let after = await this.#lastCopied();
		for (let next = this.#readAfter(after); ; ) {
			const rows = await next;
			const last = rows.at(-1);
			if (last === undefined) return;
			await pace(rows.length);
			after = rawId(last);
			next = this.#readAfter(after);
			// Awaited further up, if this one does not throw first.
			next.catch(() => undefined);
			mustHold();
			await insertRaw(clusters, this.#copy, rows);
			onRows(rows.length);
		}
	}

	/** Copies again what has changed since it was copied, until little changes between two rounds. */
	async catchUp(): Promise<void> {
		for (let round = 1; round <= ROUNDS; round++) {
			if ((await this.catchUpOnce()) < FEW) return;
		}
	}

	/** Everything that happened before this was called is in the copy afterwards. Tells how many rows it was. */
	async catchUpOnce(): Promise<number> {
		await this.#feed.until(await writeMarker(this.#deps.clusters, this.#sides.moves, this.#row));
		return this.#copyChanged(this.#sides.source);
	}

	/** The ids whose rows differ although they have not changed since the comparison began: the copy is wrong. */
	async verify(): Promise<Buffer[]> {
		for (let tries = 1; ; tries++) {
			this.#changed.clear();
			const { different, complete } = await this.#compareAll();
			const wrong = await this.#unexplained(different);
			if (complete || wrong.length > 0) return wrong;
			if (tries === ROUNDS) throw new Error("the month changes faster than it can be compared");
		}
	}

	/** Of the rows that have changed since the comparison: those that differ. With the fence up there may be none. */
	verifyChanged(): Promise<Buffer[]> {
		return compareIds(this.#deps.clusters, [this.#sides.source, this.#copy], [...this.#changed.values()]);
	}

	/** Gives the copy its final name. */
	async finish(): Promise<Target> {
		this.#deps.mustHold();
		this.#copy = await finishCopy(this.#sides.place, this.#copy);
		return this.#copy;
	}

	/** After the source was renamed to `away`: copies what was written while the fence was not up. */
	async settle(away: Target): Promise<void> {
		await this.#feed.untilRenamed();
		this.#changed.clear();
		await this.#copyChanged(away);
		const wrong = await compareIds(this.#deps.clusters, [away, this.#copy], [...this.#changed.values()]);
		if (wrong.length > 0) throw new Error(`${wrong.length} late rows of ${away.collection} did not reach the archive`);
	}

	close(): Promise<void> {
		return this.#feed.close();
	}

	async #lastCopied(): Promise<Buffer | null> {
		const { cluster, database } = this.#copy;
		const command = { find: this.#copy.collection, sort: { _id: -1 }, limit: 1, batchSize: 1 };
		const [row] = await this.#deps.clusters.at(cluster).readRaw(database, command);
		return row === undefined ? null : rawId(row);
	}

	#readAfter(after: Buffer | null): Promise<RawRow[]> {
		return readRaw(this.#deps.clusters, this.#sides.source, after, CHUNK);
	}

	async #copyChanged(from: Target): Promise<number> {
		const ids = this.#feed.take();
		for (const id of ids) this.#changed.set(id.toString("latin1"), id);
		await recopy(this.#deps, from, this.#copy, ids);
		return ids.length;
	}

	#compareAll(): Promise<Comparison> {
		return compareAll(this.#deps.clusters, [this.#sides.source, this.#copy], this.#deps.comparing());
	}

	/** A row may have changed between the reads of its two sides: then it is among the changes. */
	async #unexplained(different: Buffer[]): Promise<Buffer[]> {
		await this.catchUpOnce();
		return different.filter((id) => !this.#changed.has(id.toString("latin1")));
	}
}

/** Puts the rows of these ids, as they are now, into the copy. */
export async function recopy(
	{ clusters, mustHold }: Pick<CopyDeps, "clusters" | "mustHold">,
	from: Target,
	to: Target,
	ids: Buffer[],
): Promise<void> {
	for (let at = 0; at < ids.length; at += CHUNK) {
		const some = ids.slice(at, at + CHUNK);
		const rows = await readRawByIds(clusters, from, some);
		mustHold();
		await replaceRaw(clusters, to, some, rows);
	}
}
