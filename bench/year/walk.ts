import type { ArchivePlan, DueMonth } from "../../contracts/archive.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import type { AlarmRow } from "../../domain/alarms/rows.ts";
import { type ArchiveLimits, archivePlan } from "../../domain/jobs/archive-plan.ts";
import { type Month, monthEndMs, monthStartMs } from "../../domain/time/periods.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { dropRetainedArchives } from "../../jobs/migrate/drop-archived-source.ts";
import { dropMonth } from "../../jobs/migrate/drop-month.ts";
import type { MoveDeps } from "../../jobs/migrate/migration.ts";
import { gatherFacts } from "../../jobs/plan/archive-facts.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { publishLowWatermark } from "../../stores/routing/low-watermark.ts";
import { newestMap } from "../../stores/routing/map-change.ts";
import { ensureCollections, ensureMap } from "../../stores/routing/provision.ts";
import { inTurns, putAll } from "../months.ts";

/** A system whose clock is told what time it is, month by month: what routers, workers and movers do in it, each in its turn. */

const HOUR_MS = 3_600_000;
const GRACE_MS = 24 * HOUR_MS;
const SLICE = 10_000;

export interface Look {
	atMs: number;
	archived: DueMonth[];
	dropped: DueMonth[];
	/** Collections whose time of grace was over. */
	sourcesDropped: number;
}

export class Year {
	readonly #clusters: Clusters;
	readonly #limits: ArchiveLimits;
	readonly #shardCount: number;
	readonly #onRows: (count: number) => void;
	#nowMs = 0;

	constructor(clusters: Clusters, shardCount: number, limits: ArchiveLimits, onRows: (count: number) => void) {
		this.#clusters = clusters;
		this.#shardCount = shardCount;
		this.#limits = limits;
		this.#onRows = onRows;
	}

	map(): Promise<RoutingMap> {
		return newestMap(this.#clusters);
	}

	/** The first day of a month: the router makes what is due; a worker says that nothing is on its way any more. */
	async begin(month: Month): Promise<void> {
		this.#nowMs = monthStartMs(month) + HOUR_MS;
		const now = new Date(this.#nowMs);
		const map = await ensureMap(this.#clusters, this.#shardCount, now);
		const { errors } = await ensureCollections(this.#clusters, map, now);
		if (errors.length > 0) throw errors[0];
		await publishLowWatermark(this.#clusters, this.#nowMs);
	}

	/** What the mover would do. @throws when it would do nothing because it does not believe the clock. */
	async plan(): Promise<ArchivePlan> {
		const facts = await gatherFacts(this.#clusters, await this.map(), { nowMs: this.#nowMs, isReal: false });
		const plan = archivePlan(facts, this.#limits);
		if (plan.refused !== null) throw new Error(`${plan.refused.code}: ${plan.refused.message}`);
		return plan;
	}

	/** Works the plan off; a day later the sources of what was archived are dropped, too. */
	async work({ due }: ArchivePlan): Promise<Look> {
		const atMs = this.#nowMs;
		// A shard is at one thing at a time.
		await inTurns(Map.groupBy(due, ({ shard }) => shard).values(), async (own) => {
			for (const one of own) await this.#do(one);
		});
		this.#nowMs += GRACE_MS + HOUR_MS;
		const { dropped, errors } = await dropRetainedArchives(this.#deps(), GRACE_MS);
		if (errors.length > 0) throw errors[0];
		const ofKind = (kind: DueMonth["kind"]) => due.filter((one) => one.kind === kind);
		return { atMs, archived: ofKind("archive"), dropped: ofKind("drop"), sourcesDropped: dropped.length };
	}

	/** The alarms of a month, in the order of their arrival. */
	async store(month: Month, rows: Iterable<AlarmRow>): Promise<void> {
		const map = await this.map();
		const put = async (some: AlarmRow[]) => {
			await putAll(this.#clusters, map, month, some);
			this.#onRows(some.length);
		};
		const slice: AlarmRow[] = [];
		for (const row of rows) {
			slice.push(row);
			if (slice.length === SLICE) await put(slice.splice(0));
		}
		await put(slice);
		this.#nowMs = monthEndMs(month);
	}

	async #do({ kind, shard, month }: DueMonth): Promise<void> {
		const work = { run: `${kind}-${shard}-${month}`, shard, month };
		if (kind === "drop") return dropMonth(this.#deps(), work);
		for await (const _step of archiveMonth(this.#deps(), work));
	}

	#deps(): MoveDeps {
		let before = 0;
		return {
			clusters: this.#clusters,
			node: "demo-year",
			onMap: () => undefined,
			nowMs: () => this.#nowMs,
			pace: async () => undefined,
			onProgress: ({ done = before }) => {
				this.#onRows(done - before);
				before = done;
			},
			onError: (error) => console.error(error),
		};
	}
}
