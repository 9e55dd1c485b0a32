import type { Binary, Document } from "mongodb";
import { LANES, type Lane } from "../../contracts/alarm.ts";
import { Fault } from "../../contracts/errors.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { PackedBatch } from "../../domain/alarms/batch.ts";
import { insertResults, type WriteReply } from "../../domain/alarms/write-results.ts";
import { isOpen } from "../../domain/routing/clusters.ts";
import { CLUSTER_CATALOG, CLUSTER_DATABASE } from "../../domain/routing/collection-catalog.ts";
import { clusterTarget, type Target } from "../../domain/routing/routing.ts";
import { inTime } from "../../lib/timeout.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { uuidBinary } from "../mongo/collections.ts";
import { findIn, insertInto, toBuffer } from "../mongo/commands.ts";
import { MAJORITY } from "../mongo/write-concern.ts";
import type { CachedDocument } from "../routing/cached-document.ts";
import { outboxDepth, rowsBehind } from "./outbox-depth.ts";

/** Accepted batches that the queue could not take, on any service cluster, until a relay has put them on the queue. */

/** One try on one cluster; two of them fit into the deadline of a creation. */
const SAVE_MS = 700;
/** A cluster that did not answer is asked last for so long. */
const AVOID_MS = 2_000;
/** A cluster that was not heard of for so long is not counted on. */
const HEARD_MS = 3_000;

export class Outbox {
	readonly #clusters: Clusters;
	readonly #routing: CachedDocument<RoutingMap>;
	readonly #maxBytes: number;
	/** By cluster: what lay there at the last look, and what this process has added since. */
	readonly #bytes = new Map<string, number>();
	readonly #avoidUntilMs = new Map<string, number>();
	/** By cluster: when it last answered. */
	readonly #heardMs = new Map<string, number>();

	constructor(clusters: Clusters, routing: CachedDocument<RoutingMap>, maxBytes: number) {
		this.#clusters = clusters;
		this.#routing = routing;
		this.#maxBytes = maxBytes;
	}

	/**
	 * Writes the batch with majority and journal on one cluster, and on another when that one is silent.
	 * @throws {Fault} OVERLOADED when there is no room and nothing was written, ACCEPTANCE_UNKNOWN otherwise.
	 */
	async save(batch: PackedBatch): Promise<void> {
		if (!this.#routing.isLoaded)
			throw new Fault("OVERLOADED", "Where the outbox lies is not known yet; nothing was accepted.", {
				retryAfterS: 1,
			});
		const roomy = this.#inOrder().filter(({ cluster }) => this.#hasRoom(cluster, batch.payload.length));
		if (roomy.length === 0)
			throw new Fault("OVERLOADED", "The outbox is full; nothing was accepted.", { retryAfterS: 5 });
		for (const target of roomy.slice(0, 2)) if (await this.#trySave(target, batch)) return;
		throw new Fault(
			"ACCEPTANCE_UNKNOWN",
			"Neither the queue nor the outbox answered in time; ask for the status of these ids.",
			{
				retryAfterS: 2,
			},
		);
	}

	/** Whether a batch could be saved somewhere, as far as is known. */
	get isUsable(): boolean {
		const sinceMs = performance.now() - HEARD_MS;
		return this.#inOrder().some(
			({ cluster }) =>
				this.#hasRoom(cluster, 0) && !this.#isAvoided(cluster) && (this.#heardMs.get(cluster) ?? 0) > sinceMs,
		);
	}

	/** Looks how full each outbox is, and tells which are not empty. Clusters that do not answer are left out. */
	async filled(): Promise<Target[]> {
		const found = await Promise.all(this.#targets().map((target) => this.#isFilled(target).catch(() => false)));
		return this.#targets().filter((_, at) => found[at]);
	}

	async #isFilled({ cluster }: Target): Promise<boolean> {
		const { bytes, oldestMs } = await outboxDepth(this.#clusters.at(cluster));
		this.#bytes.set(cluster, bytes);
		this.#heardMs.set(cluster, performance.now());
		return oldestMs !== null;
	}

	async #trySave(target: Target, batch: PackedBatch): Promise<boolean> {
		const inserted = insertInto(this.#clusters, target, [toDocument(batch)]).then(isThere);
		const isSaved = await inTime(inserted, SAVE_MS).catch(() => false);
		if (isSaved) this.#noteSaved(target.cluster, batch.payload.length);
		else this.#avoidUntilMs.set(target.cluster, performance.now() + AVOID_MS);
		return isSaved;
	}

	#noteSaved(cluster: string, bytes: number): void {
		this.#bytes.set(cluster, (this.#bytes.get(cluster) ?? 0) + bytes);
		this.#heardMs.set(cluster, performance.now());
	}

	/** Where batches may be put, those that are not known to be silent first. */
	#inOrder(): Target[] {
		const open = this.#targets().filter(({ cluster }) => isOpen(this.#routing.current, cluster));
		return open.sort((one, other) => +this.#isAvoided(one.cluster) - +this.#isAvoided(other.cluster));
	}

	#targets(): Target[] {
		return this.#routing.isLoaded ? outboxes(this.#clusters, this.#routing.current) : [];
	}

	#isAvoided(cluster: string): boolean {
		return (this.#avoidUntilMs.get(cluster) ?? 0) > performance.now();
	}

	#hasRoom(cluster: string, bytes: number): boolean {
		return (this.#bytes.get(cluster) ?? 0) + bytes <= this.#maxBytes;
	}
}

/** The outbox of every service cluster that has one. */
export function outboxes(clusters: Clusters, map: RoutingMap): Target[] {
	return [...clusters.service.keys()]
		.map((cluster) => clusterTarget(map, cluster, CLUSTER_DATABASE, CLUSTER_CATALOG.outbox.kind))
		.filter((target) => target !== null);
}

/** Sorts by lane and time, so that each lane's oldest are relayed first; the same batch has the same one wherever it is saved. */
function idOf({ lane, sinceMs, epoch, number }: PackedBatch): string {
	return `${lane}:${String(sinceMs).padStart(15, "0")}:${epoch}:${number}`;
}

function toDocument(batch: PackedBatch): Document {
	return { _id: idOf(batch), ...batch, payload: toBuffer(batch.payload) };
}

/** There already is as good: an earlier try was only silent. */
function isThere(reply: WriteReply): boolean {
	const [result] = insertResults(reply, 1);
	return result === "stored" || result === "duplicate";
}

/** A row as a relay reads it. */
export type OutboxRow = PackedBatch & { _id: string };

/** The oldest rows, marked with the relay's token: a relay that wakes after its time removes nothing of another's. */
export async function claimRows(
	clusters: Clusters,
	target: Target,
	{ lane, token, after, limit }: { lane: Lane; token: number; after: string; limit: number },
): Promise<OutboxRow[]> {
	const rows = await findIn<Omit<OutboxRow, "payload"> & { payload: Binary | Uint8Array }>(
		clusters,
		target,
		rowsBehind(lane, after),
		limit,
		{
			sort: { _id: 1 },
		},
	);
	if (rows.length === 0) return [];
	const ids = rows.map(({ _id }) => _id);
	const claim = {
		q: { _id: { $in: ids }, $or: [{ token: { $exists: false } }, { token: { $lte: token } }] },
		u: { $set: { token } },
		multi: true,
	};
	await change(clusters, target, { update: target.collection, updates: [claim] });
	return rows.map((row) => ({ ...row, payload: toBuffer(row.payload as Uint8Array) }));
}

/** Removes rows whose batch is on the queue, if this relay's claim still stands. */
export async function removeRows(clusters: Clusters, target: Target, token: number, ids: string[]): Promise<void> {
	if (ids.length === 0) return;
	const deletes = [{ q: { _id: { $in: ids }, token }, limit: 0 }];
	await change(clusters, target, { delete: target.collection, deletes });
}

async function change(clusters: Clusters, { cluster, database, uuid }: Target, command: Document): Promise<void> {
	const reply: WriteReply = await clusters
		.at(cluster)
		.command(database, { ...command, collectionUUID: uuidBinary(uuid), writeConcern: MAJORITY });
	const wrong = reply.writeErrors?.[0]?.errmsg ?? reply.writeConcernError?.errmsg;
	if (wrong !== undefined) throw new Error(`the outbox of ${cluster} cannot be changed: ${wrong}`);
}

/** Acceptance time of the oldest alarm in an outbox, null when it is empty. @throws when its cluster does not answer. */
export async function oldestIn(clusters: Clusters, target: Target): Promise<number | null> {
	const only = { sort: { _id: 1 }, projection: { sinceMs: 1 } };
	const firsts = await Promise.all(
		LANES.map((lane) => findIn<{ sinceMs: number }>(clusters, target, rowsBehind(lane), 1, only)),
	);
	const found = firsts.flat().map(({ sinceMs }) => sinceMs);
	return found.length === 0 ? null : Math.min(...found);
}
