import type { AuditState } from "../../contracts/audit.ts";
import { dayOf, daysBefore } from "../../domain/time/periods.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import { audit } from "./reconcile.ts";

/** The ledger days of `count` days, today included. */
export function lastDays(count: number, nowMs: number): { from: string; to: string } {
	return { from: dayOf(daysBefore(nowMs, count - 1)), to: dayOf(nowMs) };
}

/** How long a reconciliation waits for what was accepted last; the low-watermark lies 70 s behind at most when all is well. */
export const WAIT_MS = 120_000;

/** Reconciliations in the background of a process, one at a time: they take longer than a call may. */
export class AuditRunner {
	readonly #clusters: Clusters;
	#state: AuditState;
	#running: Promise<void> | null = null;
	readonly #stop = new AbortController();

	constructor(clusters: Clusters, node: string) {
		this.#clusters = clusters;
		const none = { startedAt: null, endedAt: null, progress: null, report: null, error: null };
		this.#state = { node, running: false, ...none };
	}

	/** The state of the current or last run. */
	state(): AuditState {
		return this.#state;
	}

	/** Begins a run unless one is under way. */
	start(days: number, nowMs: number): AuditState {
		if (this.#running !== null) return this.#state;
		const startedAt = new Date(nowMs).toISOString();
		const { node } = this.#state;
		this.#state = { node, running: true, startedAt, endedAt: null, progress: null, report: null, error: null };
		this.#running = this.#run(lastDays(days, nowMs)).finally(() => {
			this.#running = null;
		});
		return this.#state;
	}

	/** Ends a run that is under way, without a report. */
	async stop(): Promise<void> {
		this.#stop.abort();
		await this.#running;
	}

	async #run(days: { from: string; to: string }): Promise<void> {
		const onProgress = (progress: AuditState["progress"]) => this.#set({ progress });
		try {
			const options = { clusters: this.#clusters, ...days, waitMs: WAIT_MS, onProgress, signal: this.#stop.signal };
			this.#set({ report: await audit(options) });
		} catch (error) {
			this.#set({ error: error instanceof Error ? error.message : String(error) });
		}
		this.#set({ running: false, endedAt: new Date().toISOString() });
	}

	#set(change: Partial<AuditState>): void {
		this.#state = { ...this.#state, ...change };
	}
}
