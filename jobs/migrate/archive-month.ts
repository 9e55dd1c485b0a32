import type { CollectionPlace } from "../../contracts/routing.ts";
import { withPlace } from "../../domain/jobs/shard-lock.ts";
import {
	alarmsOf,
	monthOfCollection,
	retainedArchiveOf,
	shardDatabase,
} from "../../domain/routing/collection-catalog.ts";
import { shardPlace, shardTarget, type Target } from "../../domain/routing/routing.ts";
import { type Month, monthOf } from "../../domain/time/periods.ts";
import { compareAll } from "../../stores/copy/compare.ts";
import { endMove, type MoveRow, movesOf, readMove } from "../../stores/copy/copy-progress.ts";
import { MonthCopy } from "../../stores/copy/month-copy.ts";
import { type CopyPlace, findLeftovers, type Leftover } from "../../stores/copy/month-copy-collections.ts";
import { recopy } from "../../stores/copy/online-copy.ts";
import { countRows } from "../../stores/copy/raw-rows.ts";
import { liftFence, setFence } from "../../stores/copy/write-fence.ts";
import { isMoved } from "../../stores/mongo/commands.ts";
import { CopyGone, renameCollection } from "../../stores/mongo/rename-collection.ts";
import { changeMap } from "../../stores/routing/map-change.ts";
import { LockLost, ShardBusy, type ShardLock, takeShardLock } from "../lock/shard-lock.ts";
import {
	type MoveDeps,
	MoveRejected,
	type MoveStep,
	paceOfComparing,
	rejectIfDifferent,
	restartIfOplogLost,
} from "./migration.ts";

/**
 * Brings one shard's month from the service tier into the archive, while it is read and written. Cut off anywhere, it goes on when it is
 * called again; the source is dropped much later (`away.ts`), and only after it was found equal to the copy.
 */

export interface MonthWork {
	run: string;
	shard: number;
	month: Month;
	/** Throws away the copy that an earlier attempt has left. */
	fresh?: boolean;
}

/** One step at a time, each yielded when it is done. @throws {ShardBusy} {LockLost} {MoveRejected}, and outages: then try again. */
export async function* archiveMonth(deps: MoveDeps, work: MonthWork): AsyncGenerator<MoveStep, void, void> {
	rejectYoung(work.month, deps.nowMs());
	yield* restartIfOplogLost(deps, work, (own) => attempt(deps, own));
}

/**
 * Brings every month of the shard to its end whose archiving was cut off behind the switch, under a duty of another kind: a shard that
 * moves would take the source for its own.
 */
export async function settleMonths(deps: MoveDeps, lock: ShardLock): Promise<void> {
	// Its progress would be taken for that of whoever has the duty.
	const silent = { ...deps, onProgress: () => undefined };
	for (const [name, { retained }] of Object.entries(shardPlace(lock.map, lock.shard).collections)) {
		const month = monthOfCollection(name);
		if (month === null || retained?.settled !== false) continue;
		for await (const _ of new MonthMover(silent, lock, { month }).steps());
	}
}

/** Whatever the plan says: what may still be written to stays. */
export function rejectYoung(month: Month, nowMs: number): void {
	if (month >= monthOf(nowMs))
		throw new MoveRejected("MONTH_TOO_YOUNG", `${month} is not over; it can be neither archived nor dropped`);
}

async function* attempt(deps: MoveDeps, work: MonthWork): AsyncGenerator<MoveStep, void, void> {
	const lock = await takeShardLock(deps, work.shard, { kind: "archive", run: work.run });
	if (lock === null) throw new ShardBusy(work.shard);
	const mover = new MonthMover(deps, lock, work);
	try {
		yield* mover.steps();
	} catch (error) {
		// Another has taken over, and what this process knew has another name.
		throw isMoved(error) || error instanceof CopyGone ? new LockLost(work.shard) : error;
	} finally {
		await mover.leave();
	}
}

/** What earlier attempts at a month have left. */
interface Earlier {
	place: CopyPlace;
	left: Leftover[];
	begun: MoveRow | null;
}

class MonthMover {
	readonly #deps: MoveDeps;
	readonly #lock: ShardLock;
	readonly #month: Month;
	readonly #name: string;
	readonly #fresh: boolean;
	#copy: MonthCopy | null = null;

	constructor(deps: MoveDeps, lock: ShardLock, { month, fresh = false }: Pick<MonthWork, "month" | "fresh">) {
		this.#deps = deps;
		this.#lock = lock;
		this.#month = month;
		this.#name = alarmsOf(month);
		this.#fresh = fresh;
	}

	async *steps(): AsyncGenerator<MoveStep, void, void> {
		const place = this.#lock.place(this.#name);
		if (place === null)
			throw new MoveRejected("MONTH_UNKNOWN", `the map knows no ${this.#name} of shard ${this.#lock.shard}`);
		if (place.tier === "dropped")
			throw new MoveRejected("MONTH_DROPPED", `${this.#name} of shard ${this.#lock.shard} is being dropped`);
		if (place.tier !== "archive") yield* this.#bring(place);
		else if (place.retained?.settled === false) yield* this.#goOnSettling(place);
	}

	async *#bring(place: CollectionPlace): AsyncGenerator<MoveStep, void, void> {
		const earlier = await this.#lookBack();
		// The shard is ours, says the map: what was found is nobody else's, now or later.
		await this.#lock.setPlace(this.#name, { tier: "moving", uuid: place.uuid });
		const source = this.#source();
		const copy = await this.#begin(source, earlier);
		yield "taken";
		await copy.copyRows();
		yield "copied";
		await copy.catchUp();
		yield "caught up";
		rejectIfDifferent(await copy.verify(), this.#lock.shard);
		await copy.catchUp();
		yield "verified";
		this.#lock.mustHold();
		await setFence(this.#deps.clusters, source);
		yield "fenced";
		await copy.catchUpOnce();
		rejectIfDifferent(await copy.verifyChanged(), this.#lock.shard);
		yield "drained";
		yield* this.#switch(source, copy);
	}

	async *#switch(source: Target, copy: MonthCopy): AsyncGenerator<MoveStep, void, void> {
		const { uuid, cluster } = await copy.finish();
		const since = new Date(this.#deps.nowMs()).toISOString();
		const retained = { uuid: source.uuid, since, settled: false };
		await this.#lock.setPlace(this.#name, { tier: "archive", uuid, cluster, retained });
		yield "switched";
		await this.#renameRetained(source.uuid);
		yield "renamed";
		await copy.settle(() => this.#retained(source.uuid));
		await this.#markSettled();
		yield "settled";
	}

	/** Cut off after the switch: what the fence should have kept off is found by comparing everything. */
	async *#goOnSettling({ retained }: CollectionPlace): AsyncGenerator<MoveStep, void, void> {
		const { uuid = "" } = retained ?? {};
		await this.#renameRetained(uuid);
		yield "renamed";
		const { clusters } = this.#deps;
		const sides: [Target, Target] = [this.#retained(uuid), this.#target()];
		const compare = () => compareAll(clusters, sides, paceOfComparing(this.#deps));
		for (let { different } = await compare(); different.length > 0; { different } = await compare()) {
			// Nobody writes to the archive: the source is right.
			await recopy({ clusters, mustHold: () => this.#lock.mustHold() }, ...sides, different);
		}
		await this.#markSettled();
		yield "settled";
	}

	/** Whether all is done or not: the feed ends, a source that was not switched is free again, and so is the shard. */
	async leave(): Promise<void> {
		await this.#copy?.close();
		try {
			if (await this.#isToBeFreed()) await liftFence(this.#deps.clusters, this.#source());
			await this.#lock.release();
		} catch (error) {
			// The fence is lifted by any router, and the lease runs out.
			this.#lock.abandon();
			if (!(error instanceof LockLost) && !isMoved(error)) this.#deps.onError(error);
		}
	}

	/**
	 * Gives the month back to the service tier, unless the map was switched: also when nobody knows whether it was, because the answer got
	 * lost. Before the fence is lifted, so that nothing is written to a source that nobody reads.
	 */
	async #isToBeFreed(): Promise<boolean> {
		this.#lock.mustHold();
		const { shard, epoch } = this.#lock;
		const freed = await changeMap(this.#deps.clusters, (map) => {
			const place = shardPlace(map, shard).collections[this.#name];
			if (place?.tier !== "moving") return null;
			const next = { tier: "service", uuid: place.uuid } as const;
			return withPlace(map, shard, epoch, this.#name, next, new Date(this.#deps.nowMs()));
		});
		if (freed !== null) this.#deps.onMap(freed);
		return freed !== null;
	}

	/** Before the map is changed on our epoch ({@link findLeftovers}). */
	async #lookBack(): Promise<Earlier> {
		const { clusters } = this.#deps;
		const { collection: _id, uuid: source } = this.#source();
		const begun = await readMove(clusters, movesOf(this.#lock.map, this.#lock.shard), { _id, source });
		const place = this.#place(begun);
		return { place, left: await findLeftovers(place), begun: this.#fresh ? null : begun };
	}

	async #begin(source: Target, earlier: Earlier): Promise<MonthCopy> {
		const { clusters, pace } = this.#deps;
		const total = await countRows(clusters, [source]);
		let done = 0;
		const onRows = (many: number) => {
			done += many;
			this.#deps.onProgress({ done, total: Math.max(total, done) });
		};
		const comparing = () => paceOfComparing(this.#deps);
		const deps = { clusters, pace, comparing, onRows, mustHold: () => this.#lock.mustHold() };
		const { shard, epoch, map } = this.#lock;
		const sides = { source, moves: movesOf(map, shard), epoch, ...earlier };
		this.#copy = await MonthCopy.begin(deps, sides);
		onRows(0);
		return this.#copy;
	}

	/** Where an earlier attempt has begun; else shards are dealt over the archive clusters in turn. */
	#place(begun: MoveRow | null): CopyPlace {
		const { archive } = this.#deps.clusters;
		const cluster = archive.get(begun?.to ?? "") ?? [...archive.values()][this.#lock.shard % archive.size];
		if (cluster === undefined) throw new Error("there is no archive cluster");
		return { cluster, shard: this.#lock.shard, month: this.#month };
	}

	#target(): Target {
		const target = shardTarget(this.#lock.map, this.#lock.shard, this.#name);
		if (target === null) throw new Error(`${this.#name} vanished from the map`);
		return target;
	}

	/** Where the month was before it was archived. */
	#source(): Target {
		const { shard, map } = this.#lock;
		const { cluster, collections } = shardPlace(map, shard);
		const { uuid = "", tier = "moving", retained } = collections[this.#name] ?? {};
		const at = { cluster: retained?.cluster ?? cluster, database: shardDatabase(shard) };
		return { ...at, collection: this.#name, uuid: retained?.uuid ?? uuid, tier };
	}

	#retained(uuid: string): Target {
		return { ...this.#source(), collection: retainedArchiveOf(this.#month), uuid };
	}

	/** With name and UUID, late commands of the service tier are answered 361 from here on. Renamed before is as good. */
	async #renameRetained(uuid: string): Promise<void> {
		this.#lock.mustHold();
		const { cluster, database } = this.#source();
		const from = { name: this.#name, uuid };
		await renameCollection(this.#deps.clusters.at(cluster), database, from, retainedArchiveOf(this.#month));
	}

	async #markSettled(): Promise<void> {
		await endMove(this.#deps.clusters, movesOf(this.#lock.map, this.#lock.shard), this.#name);
		const place = this.#lock.place(this.#name);
		if (place?.retained === undefined) return;
		await this.#lock.setPlace(this.#name, { ...place, retained: { ...place.retained, settled: true } });
	}
}
