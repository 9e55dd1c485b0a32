import { hostname } from "node:os";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { HistoryQuery, MapChangeRow, MapHistory } from "../../contracts/shards.ts";
import { META_CATALOG, META_DATABASE } from "../../domain/routing/collection-catalog.ts";
import { describeChange, withGaps } from "../../domain/routing/map-history.ts";
import type { Clusters } from "../mongo/clusters.ts";

/** Who has changed the routing map, when, and what: a row per version in the meta database. */

const COLLECTION = META_CATALOG.history.kind;
const WRITER = `${hostname()}-${process.pid}`.toLowerCase();
const MAJORITY = { w: "majority", j: true };

/** Never rejects: the change is made, and a version without a row is shown as one that nobody knows about. */
export async function noteChange(clusters: Clusters, before: RoutingMap | null, next: RoutingMap): Promise<void> {
	const { version, ...told } = describeChange(before, next, WRITER);
	const row = { _id: version, at: new Date(next.changedAt), ...told };
	const command = { insert: COLLECTION, documents: [row], writeConcern: MAJORITY };
	await clusters.meta.command(META_DATABASE, command).catch(() => undefined);
}

const LIMIT_DEFAULT = 50;

/** Newest first. Gaps are shown where nothing was filtered out. */
export async function readHistory(clusters: Clusters, query: HistoryQuery): Promise<MapHistory> {
	const { shard, kind, before, limit = LIMIT_DEFAULT } = query;
	const filter = {
		...(before !== undefined && { _id: { $lt: before } }),
		...(shard !== undefined && { shards: shard }),
		...(kind !== undefined && { kind }),
	};
	const command = { find: COLLECTION, filter, sort: { _id: -1 }, limit, batchSize: limit, singleBatch: true };
	const reply = await clusters.meta.read(META_DATABASE, command);
	const rows = (reply.cursor.firstBatch as (Omit<MapChangeRow, "at"> & { _id: number; at: Date })[]).map(toChange);
	return { changes: shard === undefined && kind === undefined ? withGaps(rows) : rows };
}

function toChange({ _id, at, by, run, kind, what, shards }: Omit<MapChangeRow, "at"> & { _id: number; at: Date }) {
	return { version: _id, at: at.toISOString(), by, run, kind, what, shards };
}

/** Rows that are older than anybody asks for. */
export async function forgetHistory(clusters: Clusters, beforeMs: number): Promise<void> {
	const deletes = [{ q: { at: { $lt: new Date(beforeMs) } }, limit: 0 }];
	await clusters.meta.command(META_DATABASE, { delete: COLLECTION, deletes, writeConcern: MAJORITY });
}
