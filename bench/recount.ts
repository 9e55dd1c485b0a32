import type { RoutingMap } from "../contracts/routing.ts";
import { showId } from "../domain/alarms/ids.ts";
import { monthOfCollection, shardDatabase } from "../domain/routing/collection-catalog.ts";
import { shardPlace } from "../domain/routing/routing.ts";
import type { Cluster } from "../stores/mongo/cluster.ts";
import type { Clusters } from "../stores/mongo/clusters.ts";
import type { BusyEnd } from "./load/busy-plan.ts";

/** Looks at every alarm on every service cluster, whatever the map says: a bare count beside the reconciliation. */

const SLICE = 10_000;

interface Recount {
	/** Alarms found, those from before the load with them. */
	found: number;
	/** Of those that were accepted under the load. */
	stored: number;
	/** What is wrong; empty when nothing is. Of each kind the first few. */
	wrong: string[];
}

interface SlotRow {
	_id: Buffer;
	userId?: string;
	readAt?: unknown;
}

/** What was promised: the accepted ids, the marks as they were last answered, and how many alarms there were before. */
export type Promised = Pick<BusyEnd, "ids" | "marks"> & { before: number };

/** Holds what was promised against what is there. */
export async function recount(clusters: Clusters, map: RoutingMap, promised: Promised): Promise<Recount> {
	const tally = new Tally(promised);
	for (const [shard] of map.shards.entries()) {
		for (const cluster of clusters.service.values()) {
			const isHome = cluster.name === shardPlace(map, shard).cluster;
			for (const collection of await monthsOn(cluster, shard))
				await eachRow(cluster, shardDatabase(shard), collection, (row) =>
					tally.take(row, isHome ? null : `${cluster.name}/${shardDatabase(shard)}.${collection}`),
				);
		}
	}
	return tally.result();
}

/** Under their own names: what a move has left behind is no second copy for anybody. */
async function monthsOn(cluster: Cluster, shard: number): Promise<string[]> {
	const command = { listCollections: 1, nameOnly: true, cursor: { batchSize: 1_000 } };
	const reply = await cluster.read(shardDatabase(shard), command);
	const names = (reply.cursor.firstBatch as { name: string }[]).map(({ name }) => name);
	return names.filter((name) => monthOfCollection(name) !== null);
}

async function eachRow(cluster: Cluster, database: string, find: string, take: (row: SlotRow) => void): Promise<void> {
	const projection = { userId: 1, readAt: 1 };
	for (let filter = {}; ; ) {
		const command = { find, filter, projection, sort: { _id: 1 }, limit: SLICE, batchSize: SLICE, singleBatch: true };
		const rows = (await cluster.read(database, command)).cursor.firstBatch as SlotRow[];
		for (const row of rows) take(row);
		const last = rows.at(-1);
		if (rows.length < SLICE || last === undefined) return;
		filter = { _id: { $gt: last._id } };
	}
}

/** Takes row after row, and says what does not fit what was promised. */
export class Tally {
	readonly #promised: Promised;
	readonly #times: Map<string, number>;
	readonly #marks: Map<string, boolean>;
	readonly #wrong = new Map<string, string[]>();
	#found = 0;

	constructor(promised: Promised) {
		this.#promised = promised;
		this.#times = new Map(promised.ids.map((id) => [id, 0]));
		this.#marks = new Map(promised.marks);
	}

	/** `stray`: where it lies, if that is not where readers look. */
	take({ _id, userId, readAt }: SlotRow, stray: string | null): void {
		const id = showId(_id);
		if (stray !== null) this.#note("where no reader looks", `${id} in ${stray}`);
		else if (userId === undefined) this.#note("tombstones, and nobody asked for one", id);
		else this.#takeAlarm(id, readAt !== undefined);
	}

	#takeAlarm(id: string, isRead: boolean): void {
		this.#found++;
		const times = this.#times.get(id);
		if (times !== undefined) this.#times.set(id, times + 1);
		const mark = this.#marks.get(id);
		if (mark !== undefined && mark !== isRead) this.#note("marked otherwise than was answered", id);
		this.#marks.delete(id);
	}

	result(): Recount {
		const { ids, before } = this.#promised;
		const all = [...this.#times];
		for (const [id, times] of all) {
			if (times === 0) this.#note("LOST: accepted, and not there", id);
			if (times > 1) this.#note("DOUBLED: more than once", id);
		}
		for (const id of this.#marks.keys()) this.#note("LOST: marked, and not there", id);
		const wrong = [...this.#wrong].map(([what, found]) => `${found.length} ${what}: ${found.slice(0, 5).join(", ")}`);
		if (this.#found !== before + ids.length)
			wrong.push(`${this.#found} alarms are there; ${before} were before, and ${ids.length} were accepted`);
		return { found: this.#found, stored: all.filter(([, times]) => times > 0).length, wrong };
	}

	#note(what: string, which: string): void {
		this.#wrong.set(what, [...(this.#wrong.get(what) ?? []), which]);
	}
}
