import type { Target } from "../../domain/routing/routing.ts";
import type { Clusters } from "../mongo/clusters.ts";
import type { ChangeFeed } from "./change-feed.ts";
import { compareAll, compareIds } from "./compare.ts";
import { type MoveRow, writeMarker } from "./copy-progress.ts";
import { insertRaw, type RawRow, rawId, readRaw, readRawByIds, replaceRaw } from "./raw-rows.ts";

/** Making copies of collections that are equal to their sources, while the sources are written to. */

export interface CopyDeps {
	clusters: Clusters;
	/** Waits until so many more rows may be read. */
	pace: (rows: number) => Promise<void>;
	/** The pace of a comparison of both sides that begins. */
	comparing: () => CopyDeps["pace"];
	/** Throws when this process may go on no longer. Asked before every write to a copy. */
	mustHold: () => void;
	onRows: (many: number) => void;
}

/** A collection and its copy; both are looked up anew at each use, because copies get other names. */
export interface Pair {
	source: Target;
	copy: Target;
}

/** Rows of one collection that differ although they have not changed meanwhile. */
export interface WrongRows {
	collection: string;
	ids: Buffer[];
}

/** So small that whoever reads meanwhile does not wait for it: a server inserts it in some 5 ms. */
export const COPY_CHUNK = 500;
/** Fewer changes than that in one round: the rest can be caught up inside the fence. */
const FEW = 500;
const ROUNDS = 20;

/** By collection: ids that have changed. */
type Changed = Map<string, Map<string, Buffer>>;

export class LiveCopy {
	readonly #deps: CopyDeps;
	readonly #moves: Target;
	readonly #row: MoveRow;
	readonly #feed: ChangeFeed;
	readonly #pairs: Pair[];
	/** Since they were compared last. */
	#changed: Changed = new Map();

	constructor(deps: CopyDeps, moves: Target, row: MoveRow, feed: ChangeFeed, pairs: Pair[]) {
		this.#deps = deps;
		this.#moves = moves;
		this.#row = row;
		this.#feed = feed;
		this.#pairs = pairs;
	}

	/** Copies what is still missing, in the order of `_id`: an earlier attempt's last row is where it goes on. */
	async copyRows(): Promise<void> {
		for (const pair of this.#pairs) await copyMissing(this.#deps, pair);
	}

	/** Copies again what has changed since it was copied, until little changes between two rounds. */
	async catchUp(): Promise<void> {
		for (let round = 1; round <= ROUNDS; round++) {
			if ((await this.catchUpOnce()) < FEW) return;
		}
	}

	/** Everything that happened before this was called is in the copies afterwards. Tells how many rows it was. */
	async catchUpOnce(): Promise<number> {
		this.#deps.mustHold();
		await this.#feed.until(await writeMarker(this.#deps.clusters, this.#moves, this.#row));
		return this.#copyChanged(({ source }) => source);
	}

	/** Rows that differ although they have not changed since their comparison began: then the copy is wrong. */
	async verify(): Promise<WrongRows[]> {
		const wrong: WrongRows[] = [];
		const paced = this.#deps.comparing();
		for (const pair of this.#pairs) {
			const ids = await this.#verifyPair(pair, paced);
			if (ids.length > 0) wrong.push({ collection: pair.source.collection, ids });
		}
		return wrong.length > 0 ? wrong : await this.#verifyRecent();
	}

	/** What has changed during a comparison that took minutes, compared until little is left to be compared inside the fence. */
	async #verifyRecent(): Promise<WrongRows[]> {
		for (let round = 1; round <= ROUNDS && this.#countChanged() >= FEW; round++) {
			const changed = this.#changed;
			this.#changed = new Map();
			const different = await this.#differing(({ source }) => source, changed);
			await this.catchUpOnce();
			const wrong = different.map((one) => this.#unexplained(one)).filter(({ ids }) => ids.length > 0);
			if (wrong.length > 0) return wrong;
		}
		return [];
	}

	/** Of the rows that have changed since the comparison: those that differ. With the fence up there may be none. */
	async verifyChanged(): Promise<WrongRows[]> {
		return this.#differing(({ source }) => source, this.#changed);
	}

	/** After the sources were renamed: copies what was written while a fence was not up, and tells how many rows that was. */
	async settle(retainedArchiveOf: (pair: Pair) => Target): Promise<number> {
		for (const { source } of this.#pairs) await this.#feed.untilRenamed(source.collection);
		this.#changed.clear();
		const many = await this.#copyChanged(retainedArchiveOf);
		const [wrong] = await this.#differing(retainedArchiveOf, this.#changed);
		if (wrong !== undefined) throw new Error(`late rows of ${wrong.collection} did not reach their copy`);
		return many;
	}

	close(): Promise<void> {
		return this.#feed.close();
	}

	/** A row may have changed between the reads of its two sides: then it is among the changes. */
	async #verifyPair(pair: Pair, paced: CopyDeps["pace"]): Promise<Buffer[]> {
		for (let tries = 1; ; tries++) {
			this.#changed.delete(pair.source.collection);
			const { different, complete } = await compareAll(this.#deps.clusters, [pair.source, pair.copy], paced);
			await this.catchUpOnce();
			const { ids } = this.#unexplained({ collection: pair.source.collection, ids: different });
			if (complete || ids.length > 0) return ids;
			if (tries === ROUNDS) throw new Error(`${pair.source.collection} changes faster than it can be compared`);
		}
	}

	/** Without those that have changed meanwhile. */
	#unexplained({ collection, ids }: WrongRows): WrongRows {
		const changed = this.#changed.get(collection);
		return { collection, ids: ids.filter((id) => !changed?.has(id.toString("latin1"))) };
	}

	async #differing(from: (pair: Pair) => Target, changed: Changed): Promise<WrongRows[]> {
		const wrong: WrongRows[] = [];
		for (const pair of this.#pairs) {
			const { collection } = pair.source;
			const some = [...(changed.get(collection)?.values() ?? [])];
			const ids = await compareIds(this.#deps.clusters, [from(pair), pair.copy], some);
			if (ids.length > 0) wrong.push({ collection, ids });
		}
		return wrong;
	}

	#countChanged(): number {
		return [...this.#changed.values()].reduce((sum, { size }) => sum + size, 0);
	}

	async #copyChanged(from: (pair: Pair) => Target): Promise<number> {
		let many = 0;
		for (const pair of this.#pairs) {
			const ids = this.#feed.take(pair.source.collection);
			const changed = this.#changedOf(pair);
			for (const id of ids) changed.set(id.toString("latin1"), id);
			await recopy(this.#deps, from(pair), pair.copy, ids);
			many += ids.length;
		}
		return many;
	}

	#changedOf({ source: { collection } }: Pair): Map<string, Buffer> {
		const known = this.#changed.get(collection) ?? new Map<string, Buffer>();
		this.#changed.set(collection, known);
		return known;
	}
}

async function copyMissing(deps: CopyDeps, pair: Pair): Promise<void> {
	const { clusters, pace, mustHold, onRows } = deps;
	const readAfter = (after: Buffer | null): Promise<RawRow[]> => readRaw(clusters, pair.source, after, COPY_CHUNK);
	for (let next = readAfter(await lastCopied(deps, pair.copy)); ; ) {
		const rows = await next;
		const last = rows.at(-1);
		if (last === undefined) return;
		await pace(rows.length);
		next = readAfter(rawId(last));
		// Awaited further up, if this one does not throw first.
		next.catch(() => undefined);
		mustHold();
		await insertRaw(clusters, pair.copy, rows);
		onRows(rows.length);
	}
}

async function lastCopied({ clusters }: CopyDeps, { cluster, database, collection }: Target): Promise<Buffer | null> {
	const command = { find: collection, sort: { _id: -1 }, limit: 1, batchSize: 1 };
	const [row] = await clusters.at(cluster).readRaw(database, command);
	return row === undefined ? null : rawId(row);
}

/** Puts the rows of these ids, as they are now, into the copy. */
export async function recopy(
	{ clusters, mustHold }: Pick<CopyDeps, "clusters" | "mustHold">,
	from: Target,
	to: Target,
	ids: Buffer[],
): Promise<void> {
	for (let at = 0; at < ids.length; at += COPY_CHUNK) {
		const some = ids.slice(at, at + COPY_CHUNK);
		const rows = await readRawByIds(clusters, from, some);
		mustHold();
		await replaceRaw(clusters, to, some, rows);
	}
}
