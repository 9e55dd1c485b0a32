import { randomUUID } from "node:crypto";
import type { CollectionPlace, LockKind, LockRecord, RoutingMap } from "../../contracts/routing.ts";
import { holdsLock, lockOf, withLock, withoutLock, withPlace } from "../../domain/jobs/shard-lock.ts";
import { nextVersion, shardPlace } from "../../domain/routing/routing.ts";
import type { Cluster } from "../../stores/mongo/cluster.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { type Lease, releaseLease, takeLease } from "../../stores/mongo/lease.ts";
import { changeMap, newestMap } from "../../stores/routing/map-change.ts";

/**
 * The right to move, archive, drop, erase or unfence a shard, of one process at a time. A lease on the shard's cluster tells who is alive; the
 * epoch in the map tells who is right: whoever takes over raises it, and nobody changes the map on an epoch that is not his own.
 */
export interface LockDeps {
	clusters: Clusters;
	/** Name of this process, for whoever reads the map. */
	node: string;
	/** Hears of each version of the map that was made here. */
	onMap: (map: RoutingMap) => void;
	nowMs: () => number;
	/** How long a process may be silent before another takes over; 10 s unless a test is in a hurry. */
	leaseMs?: number;
}

/** Another process that is alive has a duty on the shard. */
export class ShardBusy extends Error {
	override readonly name = "ShardBusy";
	constructor(shard: number) {
		super(`another process is at work on shard ${shard}`);
	}
}

/** The duty has passed to another process: whatever was under way is over, and did no harm. */
export class LockLost extends Error {
	override readonly name = "LockLost";
	constructor(shard: number) {
		super(`the duty on shard ${shard} has passed to another process`);
	}
}

const LEASE_MS = 10_000;
/** Renewed four times in its length; nothing that could change the world is begun in its last tenth. */
const RENEWALS = 4;
const MARGIN = 0.1;

/** Takes the duty if nobody alive has one on this shard; null while somebody has. */
export async function takeShardLock(
	deps: LockDeps,
	shard: number,
	{ kind, run }: { kind: LockKind; run: string },
): Promise<ShardLock | null> {
	const { clusters, node, nowMs, onMap } = deps;
	const cluster = clusters.at(shardPlace(await newestMap(clusters), shard).cluster);
	// Two duties of one process exclude each other like those of two.
	const holder = `${node}/${randomUUID()}`;
	const lease = await takeLease(cluster, leaseOf(shard), holder, deps.leaseMs ?? LEASE_MS);
	if (lease === null) return null;
	const given = (map: RoutingMap) => withLock(map, shard, { kind, run, holder: node }, new Date(nowMs()));
	const map = (await changeMap(clusters, given)) as RoutingMap;
	onMap(map);
	return new ShardLock(deps, { leases: [cluster], shard, holder, lock: lockOf(map, shard) as LockRecord }, map, lease);
}

/** Does a deed under the duty, which is given back however it ends. Null, and nothing is done, while somebody alive has one on this shard. */
export async function withShardLock<R>(
	deps: LockDeps,
	shard: number,
	what: { kind: LockKind; run: string },
	work: (lock: ShardLock) => Promise<R>,
): Promise<R | null> {
	const lock = await takeShardLock(deps, shard, what);
	if (lock === null) return null;
	try {
		return await work(lock);
	} finally {
		await lock.release();
	}
}

function leaseOf(shard: number): string {
	return `shard-${shard}`;
}

interface Hold {
	/** Where the lease is held. */
	leases: Cluster[];
	shard: number;
	holder: string;
	lock: LockRecord;
}

export class ShardLock {
	readonly shard: number;
	readonly epoch: number;
	readonly #deps: LockDeps;
	readonly #hold: Hold;
	#map: RoutingMap;
	#untilMs: number;
	readonly #leaseMs: number;
	#timer: NodeJS.Timeout | null;

	constructor(deps: LockDeps, hold: Hold, map: RoutingMap, lease: Lease) {
		this.#deps = deps;
		this.#hold = hold;
		this.shard = hold.shard;
		this.epoch = hold.lock.epoch;
		this.#map = map;
		this.#untilMs = lease.untilMs;
		this.#leaseMs = deps.leaseMs ?? LEASE_MS;
		this.#timer = setInterval(() => void this.#renew(), this.#leaseMs / RENEWALS).unref();
	}

	/** As this process changed it last. */
	get map(): RoutingMap {
		return this.#map;
	}

	/** Before each deed that could do harm in a wrong hand. @throws {LockLost} once the lease is over, however long ago. */
	mustHold(): void {
		if (performance.now() > this.#untilMs - this.#leaseMs * MARGIN) throw new LockLost(this.shard);
	}

	place(name: string): CollectionPlace | null {
		return shardPlace(this.#map, this.shard).collections[name] ?? null;
	}

	/** Puts a collection of the shard in its new place in the map; null takes it out. @throws {LockLost} */
	async setPlace(name: string, place: CollectionPlace | null): Promise<void> {
		this.mustHold();
		await this.#change((map) => withPlace(map, this.shard, this.epoch, name, place, this.#now()));
	}

	/** A change of the map of any other kind; null from `decide`: the duty has passed to another. @throws {LockLost} */
	async changeMap(decide: (map: RoutingMap) => RoutingMap | null): Promise<void> {
		this.mustHold();
		await this.#change(decide);
	}

	/** What was seen before this is no later holder's. @throws {LockLost} */
	confirm(): Promise<void> {
		return this.changeMap((map) => (holdsLock(map, this.shard, this.epoch) ? nextVersion(map, this.#now()) : null));
	}

	/** Holds the lease on another cluster, too: where the shard will be looked for when it has moved. False while another has it. */
	async holdAlsoOn(cluster: Cluster): Promise<boolean> {
		const { leases, holder } = this.#hold;
		const lease = await takeLease(cluster, leaseOf(this.shard), holder, this.#leaseMs);
		if (lease !== null && !leases.includes(cluster)) leases.push(cluster);
		return lease !== null;
	}

	/** Gives the duty back, if it still is ours. */
	async release(): Promise<void> {
		this.abandon();
		await this.#change((map) => withoutLock(map, this.shard, this.epoch, this.#now())).catch(unlessLost);
		const { leases, holder } = this.#hold;
		await Promise.all(leases.map((cluster) => releaseLease(cluster, leaseOf(this.shard), holder)));
	}

	/** Lets the lease run out, as a process does that dies. */
	abandon(): void {
		if (this.#timer !== null) clearInterval(this.#timer);
		this.#timer = null;
	}

	#now(): Date {
		return new Date(this.#deps.nowMs());
	}

	async #change(decide: (map: RoutingMap) => RoutingMap | null): Promise<void> {
		const map = await changeMap(this.#deps.clusters, decide);
		if (map === null) throw new LockLost(this.shard);
		this.#map = map;
		this.#deps.onMap(map);
	}

	async #renew(): Promise<void> {
		const { leases, holder } = this.#hold;
		// A lease that ran out may have been another's since: it is never taken back.
		if (performance.now() > this.#untilMs) return this.abandon();
		const renewed = leases.map((cluster) => takeLease(cluster, leaseOf(this.shard), holder, this.#leaseMs));
		const held = await Promise.all(renewed).catch(() => [null]);
		const untilMs = Math.min(...held.map((lease) => lease?.untilMs ?? 0));
		if (this.#timer !== null && untilMs > 0) this.#untilMs = untilMs;
	}
}

function unlessLost(error: unknown): void {
	if (!(error instanceof LockLost)) throw error;
}
