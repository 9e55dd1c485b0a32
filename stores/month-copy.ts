import type { Target } from "../domain/routing.ts";
import { type CopyPlace, dropCopies, finishCopy, makeCopy, takeOverCopy } from "./archive-copies.ts";
import { ChangeFeed } from "./change-feed.ts";
import { type CopyDeps, LiveCopy, type Pair } from "./live-copy.ts";
import { beginMove, type Moved, type MoveRow, readMove } from "./moves.ts";

/** The copy of one month on its archive cluster. */

interface Sides {
	source: Target;
	moves: Target;
	place: CopyPlace;
	epoch: number;
	/** Throws away what an earlier attempt has left. */
	fresh: boolean;
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
		const { moves, place, epoch, fresh } = sides;
		const row = fresh ? null : await readMove(deps.clusters, moves, movedIn(sides));
		const copy = row === null ? null : await takeOverCopy(place, epoch);
		if (row !== null && copy !== null) return new MonthCopy(deps, sides, row, copy);
		return MonthCopy.#fromNothing(deps, sides);
	}

	static async #fromNothing(deps: CopyDeps, sides: Sides): Promise<MonthCopy> {
		deps.mustHold();
		await dropCopies(sides.place);
		const row = await beginMove(deps.clusters, sides.moves, movedIn(sides));
		return new MonthCopy(deps, sides, row, await makeCopy(sides.place, sides.epoch));
	}

	/** Gives the copy its final name. */
	async finish(): Promise<Target> {
		this.#deps.mustHold();
		this.#pair.copy = await finishCopy(this.#place, this.#pair.copy);
		return this.#pair.copy;
	}
}

function movedIn({ source }: Sides): Moved {
	return { _id: source.collection, source: source.uuid };
}
