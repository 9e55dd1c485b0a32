import type { Target } from "../../domain/routing/routing.ts";
import { ChangeFeed } from "./change-feed.ts";
import { announceFinish, beginMove, goOnWithMove, type MoveRow, readMove, WHOLE_SHARD } from "./copy-progress.ts";
import { type CopyDeps, LiveCopy, type Pair } from "./online-copy.ts";
import { countRows } from "./raw-rows.ts";
import { findIncoming, finishIncoming, makeIncoming, type TargetPlace, takeOverAll } from "./shard-copy-collections.ts";

/** The copies of all of a shard's collections on the cluster that it moves to. */

interface Sides {
	/** What is copied, by name. */
	sources: Target[];
	moves: Target;
	to: Omit<TargetPlace, "mayBeFinished">;
	epoch: number;
	/** Throws away what an earlier attempt has left. */
	fresh: boolean;
	/** Throws when another process has taken the shard lock. When it returns, no later holder has written what was read before the call. */
	confirm: () => Promise<void>;
}

export class ShardCopy extends LiveCopy {
	readonly #deps: CopyDeps;
	readonly #sides: Sides;
	readonly #row: MoveRow;
	readonly #pairs: Pair[];
	/** Of the collection in which the next move will keep its row: made, and not copied. */
	#moves: Target;

	private constructor(deps: CopyDeps, sides: Sides, row: MoveRow, pairs: Pair[], moves: Target) {
		const { cluster, database, collection } = sides.moves;
		const place = { cluster, database, collections: null, markers: collection };
		super(deps, sides.moves, row, new ChangeFeed(deps.clusters, place, row.since), pairs);
		this.#deps = deps;
		this.#sides = sides;
		this.#row = row;
		this.#pairs = pairs;
		this.#moves = moves;
	}

	/**
	 * Goes on with the copies of an earlier attempt if their changes can still be told, else begins anew. Copies are made before the row that
	 * names them is written: no attempt takes one row's changes for another's copies.
	 * @throws {TargetNotEmpty}
	 */
	static async begin(deps: CopyDeps, sides: Sides): Promise<ShardCopy> {
		const { moves, to, epoch, fresh } = sides;
		const moved = { _id: WHOLE_SHARD, source: moves.uuid, to: to.cluster.name };
		const found = await readMove(deps.clusters, moves, moved);
		const known = found?.to === moved.to && !fresh ? found : null;
		const place = { ...to, mayBeFinished: found?.to === moved.to && found.finishing === true };
		const left = await findIncoming(place);
		await sides.confirm();
		const wanted = Object.entries(known?.copies ?? {}).filter(([of]) =>
			sides.sources.some((one) => one.collection === of),
		);
		const taken = await takeOverAll(place, left, Object.fromEntries(wanted), epoch);
		const make = (collection: string) => {
			deps.mustHold();
			return makeIncoming(place, collection, epoch);
		};
		const copyOf = async ({ collection }: Target) => taken.get(collection) ?? make(collection);
		const pairs: Pair[] = [];
		for (const source of sides.sources) pairs.push({ source, copy: await copyOf(source) });
		const copies = Object.fromEntries(pairs.map(({ source, copy }) => [source.collection, copy.uuid]));
		const row =
			known === null
				? await beginMove(deps.clusters, moves, { ...moved, copies })
				: await goOnWithMove(deps.clusters, moves, known, copies);
		return new ShardCopy(deps, sides, row, pairs, await make(moves.collection));
	}

	/** Of all collections that have a copy. */
	get names(): string[] {
		return [...this.#pairs.map(({ source }) => source.collection), this.#sides.moves.collection];
	}

	/** How many rows an earlier attempt has copied. */
	countRows(): Promise<number> {
		const copies = this.#pairs.map(({ copy }) => copy);
		return countRows(this.#deps.clusters, copies);
	}

	/** Gives all copies their final names, and tells their UUIDs. Announced before, so that whoever goes on knows them. */
	async finish(): Promise<Map<string, string>> {
		this.#deps.mustHold();
		await announceFinish(this.#deps.clusters, this.#sides.moves, this.#row);
		const place = { ...this.#sides.to, mayBeFinished: true };
		const uuids = new Map<string, string>();
		const finished = async (name: string, copy: Target) => {
			this.#deps.mustHold();
			const target = await finishIncoming(place, name, copy);
			uuids.set(name, target.uuid);
			return target;
		};
		for (const pair of this.#pairs) pair.copy = await finished(pair.source.collection, pair.copy);
		this.#moves = await finished(this.#sides.moves.collection, this.#moves);
		return uuids;
	}
}
