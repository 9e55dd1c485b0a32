import { setTimeout as sleep } from "node:timers/promises";
import type { AuditReport, AuditState } from "../../contracts/audit.ts";
import type { MovesBegun, RebalancePlan, ShardsState } from "../../contracts/shards.ts";

/** What an operator does by REST. */

const TIMEOUT_MS = 30_000;
const LOOK_MS = 500;

export class Operator {
	readonly #url: string;
	readonly #key: string;
	readonly #signal: AbortSignal;

	constructor(port: number, key: string, signal: AbortSignal) {
		this.#url = `http://127.0.0.1:${port}`;
		this.#key = key;
		this.#signal = signal;
	}

	addCluster(name: string, uri: string): Promise<{ state: string }> {
		return this.#ask("POST", "/v1/ops/clusters", { name, uri });
	}

	plan(): Promise<RebalancePlan> {
		return this.#ask("GET", "/v1/ops/shards/plan");
	}

	/** Confirms the plan that it is shown. */
	async rebalance(rate: number | undefined): Promise<RebalancePlan> {
		const plan = await this.plan();
		const request = { confirm: plan.id, ...(rate !== undefined && { rate }) };
		await this.#ask<MovesBegun>("POST", "/v1/ops/shards/rebalance", request);
		return plan;
	}

	shards(): Promise<ShardsState> {
		return this.#ask("GET", "/v1/ops/shards");
	}

	/** Waits for the report. */
	async reconcile(): Promise<AuditReport> {
		await this.#ask("POST", "/v1/ops/reconcile", {});
		for (;;) {
			const { running, report, error } = await this.#ask<AuditState>("GET", "/v1/ops/reconcile");
			if (error !== null) throw new Error(`the reconciliation failed: ${error}`);
			if (!running && report !== null) return report;
			await sleep(LOOK_MS, undefined, { signal: this.#signal });
		}
	}

	async #ask<R>(method: string, path: string, body?: unknown): Promise<R> {
		const reply = await fetch(`${this.#url}${path}`, {
			method,
			headers: { authorization: `Bearer ${this.#key}`, "content-type": "application/json" },
			...(body !== undefined && { body: JSON.stringify(body) }),
			signal: AbortSignal.any([this.#signal, AbortSignal.timeout(TIMEOUT_MS)]),
		});
		const text = await reply.text();
		if (!reply.ok) throw new Error(`${method} ${path} answered ${reply.status}: ${text}`);
		return JSON.parse(text) as R;
	}
}
