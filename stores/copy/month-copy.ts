import type { Target } from "../../domain/routing/routing.ts";
import { ChangeFeed } from "./change-feed.ts";
import { beginMove, type MoveRow } from "./copy-progress.ts";
import {
	type CopyPlace,
	dropCopies,
	finishCopy,
	type Leftover,
	makeCopy,
	takeOverCopy,
} from "./month-copy-collections.ts";
import { type CopyDeps, LiveCopy, type Pair } from "./online-copy.ts";

/** The copy of one month on its archive cluster. */

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

export class MonthCopy extends LiveCopy {
	readonly #deps: CopyDeps;
	readonly #place: CopyPlace;
	readonly #pair: Pair;

	private constructor(deps: CopyDeps, { source, moves, place }: Sides, row: MoveRow, copy: Target) {
		const pair = { source, copy };
		const { cluster, database, collection } = source;
		const feed = new ChangeFeed(
			deps.clusters,
			{ cluster, database, collections: [collection], markers: moves.collection },
			row.since,
		);
		super(deps, moves, row, feed, [pair]);
		this.#deps = deps;
		this.#place = place;
		this.#pair = pair;
	}

	/** Goes on with the copy of an earlier attempt if its changes can still be told, else begins a new one. */
	static async begin(deps: CopyDeps, sides: Sides): Promise<MonthCopy> {
		const { place, epoch, left, begun } = sides;
		const copy = begun && (await takeOverCopy(place, left, begun.copy ?? "", epoch));
		if (begun !== null && copy !== null) return new MonthCopy(deps, sides, begun, copy);
		return MonthCopy.#fromNothing(deps, sides);
	}

	/** The copy is made before its row is written, so that the row can name it: no attempt takes one row's changes for another's copy. */
	static async #fromNothing(deps: CopyDeps, sides: Sides): Promise<MonthCopy> {
		const { place, left, epoch, moves, source } = sides;
		deps.mustHold();
		await dropCopies(place, left);
		const copy = await makeCopy(place, epoch);
		const moved = { _id: source.collection, source: source.uuid, to: copy.cluster, copy: copy.uuid };
		return new MonthCopy(deps, sides, await beginMove(deps.clusters, moves, moved), copy);
	}

	/** Gives the copy its final name. */
	async finish(): Promise<Target> {
		this.#deps.mustHold();
		this.#pair.copy = await finishCopy(this.#place, this.#pair.copy);
		return this.#pair.copy;
	}
}
