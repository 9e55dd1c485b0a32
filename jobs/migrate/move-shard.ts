import type { RetainedShard } from "../../contracts/routing.ts";
import {
	copiedNames,
	movingNames,
	rejectOutgrown,
	TargetClosed,
	withMovedShard,
	withRetained,
} from "../../domain/jobs/shard-move.ts";
import { isOpen } from "../../domain/routing/clusters.ts";
import { movedName, retainedMoveOf, SHARD_CATALOG, shardDatabase } from "../../domain/routing/collection-catalog.ts";
import { shardPlace, shardTarget, type Target } from "../../domain/routing/routing.ts";
import { movesOf } from "../../stores/copy/copy-progress.ts";
import { countRows } from "../../stores/copy/raw-rows.ts";
import { ShardCopy } from "../../stores/copy/shard-copy.ts";
import { TargetNotEmpty } from "../../stores/copy/shard-copy-collections.ts";
import { liftFence, setFence } from "../../stores/copy/write-fence.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import { holdsRows, isFenced } from "../../stores/mongo/collections.ts";
import { isMoved } from "../../stores/mongo/commands.ts";
import { CopyGone, renameCollection } from "../../stores/mongo/rename-collection.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { LockLost, ShardBusy, type ShardLock, takeShardLock } from "../lock/shard-lock.ts";
import { settleMonths } from "./archive-month.ts";
import { collectionsOn, isRetainedBy } from "./drop-moved-source.ts";
import {
	type MoveDeps,
	MoveRejected,
	type MoveStep,
	paceOfComparing,
	rejectIfDifferent,
	restartIfOplogLost,
} from "./migration.ts";

/**
 * Moves a whole shard to another cluster while it is read and written: everything in the one list of what a shard holds, but for its
 * archived months, which stay where they are. The steps are those of a month (`archive-month.ts`); cut off anywhere, it goes on when it is
 * called again. Going back is a move in the other direction.
 */

export interface ShardMove {
	run: string;
	shard: number;
	/** Name of the service cluster that it moves to. */
	to: string;
	/** Throws away the copies that an earlier attempt has left. */
	fresh?: boolean;
}

/** One step at a time, each yielded when it is done. @throws {ShardBusy} {LockLost} {MoveRejected}, and outages: then try again. */
export async function* moveShard(deps: MoveDeps, work: ShardMove): AsyncGenerator<MoveStep, void, void> {
	yield* restartIfOplogLost(deps, work, (own) => attempt(deps, own));
}

async function* attempt(deps: MoveDeps, work: ShardMove): AsyncGenerator<MoveStep, void, void> {
	// The target may have been added a moment ago.
	await newestMap(deps.clusters);
	const to = deps.clusters.service.get(work.to);
	if (to === undefined) throw new MoveRejected("CLUSTER_UNKNOWN", `there is no service cluster ${work.to}`);
	const lock = await takeShardLock(deps, work.shard, { kind: "move", run: work.run });
	if (lock === null) throw new ShardBusy(work.shard);
	const mover = new ShardMover(deps, lock, to, work.fresh ?? false);
	try {
		yield* mover.steps();
	} catch (error) {
		if (error instanceof TargetClosed) throw new MoveRejected("CLUSTER_RETIRING", error.message);
		if (error instanceof TargetNotEmpty) throw new MoveRejected("TARGET_NOT_EMPTY", error.message);
		// Another has taken over, and what this process knew has another name.
		throw isMoved(error) || error instanceof CopyGone ? new LockLost(work.shard) : error;
	} finally {
		await mover.leave();
	}
}

class ShardMover {
	readonly #deps: MoveDeps;
	readonly #lock: ShardLock;
	readonly #to: Cluster;
	readonly #fresh: boolean;
	#copy: ShardCopy | null = null;
	/** Sources that reject writes by our doing. */
	#fenced: Target[] = [];

	constructor(deps: MoveDeps, lock: ShardLock, to: Cluster, fresh: boolean) {
		this.#deps = deps;
		this.#lock = lock;
		this.#to = to;
		this.#fresh = fresh;
	}

	async *steps(): AsyncGenerator<MoveStep, void, void> {
		// What an earlier move has left in its place would stand in the way of this one.
		yield* this.#settleAll();
		if (this.#place().cluster === this.#to.name) return;
		await settleMonths(this.#deps, this.#lock);
		yield* this.#bring();
		yield* this.#settleAll();
	}

	async *#bring(): AsyncGenerator<MoveStep, void, void> {
		const { shard, epoch, map } = this.#lock;
		if (!isOpen(map, this.#to.name)) throw new TargetClosed(`the cluster ${this.#to.name} is being retired`);
		if (!(await this.#lock.holdAlsoOn(this.#to))) throw new ShardBusy(shard);
		const sources = copiedNames(this.#place()).map((name) => shardTarget(map, shard, name) as Target);
		const copy = await this.#begin(sources);
		yield "taken";
		await copy.copyRows();
		yield "copied";
		await copy.catchUp();
		yield "caught up";
		rejectIfDifferent(await copy.verify(), shard);
		await copy.catchUp();
		yield "verified";
		await this.#rejectOutgrown(copy);
		await this.#fence(sources);
		yield "fenced";
		await copy.catchUpOnce();
		rejectIfDifferent(await copy.verifyChanged(), shard);
		yield "drained";
		await this.#rejectOutgrown(copy);
		const uuids = await copy.finish();
		const to = { cluster: this.#to.name, uuids };
		await this.#lock.changeMap((held) => withMovedShard(held, shard, epoch, to, this.#now()));
		yield "switched";
	}

	/** Before the copies get their final names: under those the next try would not take them over. */
	async #rejectOutgrown(copy: ShardCopy): Promise<void> {
		const { shard } = this.#lock;
		rejectOutgrown(shardPlace(await newestMap(this.#deps.clusters), shard), copy.names, shard);
	}

	async #begin(sources: Target[]): Promise<ShardCopy> {
		const { clusters, pace } = this.#deps;
		const { shard, epoch, map } = this.#lock;
		const total = await countRows(clusters, sources);
		let [done, before] = [0, 0];
		const onRows = (many: number) => {
			done += many;
			this.#deps.onProgress({ done, total: Math.max(total, done), before });
		};
		const comparing = () => paceOfComparing(this.#deps);
		const deps = { clusters, pace, comparing, onRows, mustHold: () => this.#lock.mustHold() };
		const to = { cluster: this.#to, shard };
		const sides = { sources, moves: movesOf(map, shard), to, epoch, fresh: this.#fresh };
		this.#copy = await ShardCopy.begin(deps, { ...sides, confirm: () => this.#lock.confirm() });
		done = before = await this.#copy.countRows();
		// At a low rate the first chunk is far away: how much there is, is known now.
		onRows(0);
		return this.#copy;
	}

	/** All at once: from the first to the switch nobody can write to the shard. */
	async #fence(sources: Target[]): Promise<void> {
		this.#lock.mustHold();
		this.#fenced = sources;
		await Promise.all(sources.map((source) => setFence(this.#deps.clusters, source)));
	}

	/** What this move, or an earlier one that was cut off behind its switch, has left: renamed, and looked at once more. */
	async *#settleAll(): AsyncGenerator<MoveStep, void, void> {
		for (const retained of (this.#place().retained ?? []).filter(({ settled }) => !settled)) {
			await this.#renameRetained(retained);
			yield "renamed";
			await this.#settle(retained);
			yield "settled";
		}
	}

	/** With name and UUID, late commands are answered 361 from here on. Renamed before is as good. */
	async #renameRetained({ cluster, epoch }: RetainedShard): Promise<void> {
		const { shard } = this.#lock;
		const found = await collectionsOn(this.#deps.clusters.at(cluster), shard);
		const names = movingNames({
			cluster,
			collections: Object.fromEntries(found.map(({ name, uuid }) => [name, { tier: "service", uuid }])),
		});
		for (const name of names.filter(isOfShard)) {
			const uuid = found.find((one) => one.name === name)?.uuid ?? "";
			this.#lock.mustHold();
			await renameCollection(
				this.#deps.clusters.at(cluster),
				shardDatabase(shard),
				{ name, uuid },
				retainedMoveOf(name, epoch),
			);
		}
	}

	/**
	 * With every fence still standing behind the renames, nothing can have been written behind the last look. A fence can only have been
	 * lifted by a router that slept in the middle of it: then what was left is kept until somebody has looked.
	 */
	async #settle(retained: RetainedShard): Promise<void> {
		const open = await this.#openOf(retained);
		if (open.length > 0)
			throw new MoveRejected(
				"FENCE_LIFTED",
				`${open.join(", ")} on ${retained.cluster} were not fenced to the end; nothing is dropped: compare them with ${this.#place().cluster}`,
			);
		const { shard, epoch } = this.#lock;
		await this.#lock.changeMap((map) =>
			withRetained(map, shard, epoch, { epoch: retained.epoch, settled: true }, this.#now()),
		);
	}

	/** An empty one was made by a router that lost its change of the map to the switch: nobody knows it. */
	async #openOf(retained: RetainedShard): Promise<string[]> {
		const cluster = this.#deps.clusters.at(retained.cluster);
		const { shard } = this.#lock;
		const found = await collectionsOn(cluster, shard);
		const open = found.filter((one) => isRetainedBy(retained, one.name) && !isFenced(one) && !isMoves(one.name));
		const hold = await Promise.all(open.map((one) => holdsRows(cluster, shardDatabase(shard), one)));
		return open.filter((_, at) => hold[at]).map(({ name }) => name);
	}

	/** Whether all is done or not: the feed ends, a source that was not switched is free again, and so is the shard. */
	async leave(): Promise<void> {
		await this.#copy?.close();
		try {
			if (await this.#isToBeFreed()) await this.#free();
			await this.#lock.release();
		} catch (error) {
			// The fences are lifted by any router, and the lease runs out.
			this.#lock.abandon();
			if (!(error instanceof LockLost) && !isMoved(error)) this.#deps.onError(error);
		}
	}

	/**
	 * By a version of our own: a switch whose answer got lost is seen then, and one that is still on its way comes too late. The copies of
	 * the map alone would not tell.
	 */
	async #isToBeFreed(): Promise<boolean> {
		if (this.#fenced.length === 0) return false;
		await this.#lock.confirm();
		return this.#place().cluster === this.#fenced[0]?.cluster;
	}

	async #free(): Promise<void> {
		for (const source of this.#fenced) {
			this.#lock.mustHold();
			await liftFence(this.#deps.clusters, source);
		}
	}

	#place() {
		return shardPlace(this.#lock.map, this.#lock.shard);
	}

	#now(): Date {
		return new Date(this.#deps.nowMs());
	}
}

/** Neither the source of an archived month, which has its own time, nor what this or another move has renamed. */
function isOfShard(name: string): boolean {
	return movedName(name) === null && !name.startsWith(`${SHARD_CATALOG.retained_archive.kind}_`);
}

/** Where the markers are written; never fenced. */
function isMoves(name: string): boolean {
	return movedName(name)?.name === SHARD_CATALOG.moves.kind;
}
