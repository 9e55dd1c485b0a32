import type { Context, Middleware, ServiceBroker } from "moleculer";
import { type BulkAnswer, LANES, type Lane } from "../../contracts/alarm.ts";
import { type ErrorCode, isErrorCode } from "../../contracts/errors.ts";
import { toProblem } from "../http/problem.ts";
import { type Metrics, metricsOf } from "./metrics.ts";

type Next = (ctx: Context<unknown>) => Promise<unknown>;

/** Counts creations that were not accepted: here every refusal passes, also that of a stranger or of a field that does not exist. */
export function rejectionCounts(): Middleware {
	return {
		name: "refusal-counts",
		localAction(this: ServiceBroker, next: Next, action: { name: string }) {
			if (action.name === "alarm.create.submit") return countSingle(next, metricsOf(this));
			return action.name === "alarm.create.bulk" ? countBulk(next, metricsOf(this)) : next;
		},
	} as unknown as Middleware;
}

function countSingle(next: Next, metrics: Metrics): Next {
	return (ctx) =>
		next(ctx).catch((error: unknown) => {
			metrics.rejected(laneOf(ctx.params, "realtime"), codeOf(error));
			throw error;
		});
}

/** A request that is refused as a whole counts as one: how many alarms it held is not known. */
function countBulk(next: Next, metrics: Metrics): Next {
	return async (ctx) => {
		try {
			const answer = (await next(ctx)) as BulkAnswer;
			if (answer.rejected > 0) countItems(metrics, (ctx.params as { alarms: unknown[] }).alarms, answer);
			return answer;
		} catch (error) {
			metrics.rejected("bulk", codeOf(error));
			throw error;
		}
	};
}

function countItems(metrics: Metrics, alarms: unknown[], { items }: BulkAnswer): void {
	items.forEach((item, at) => {
		if (!("error" in item)) return;
		const { code } = item.error;
		metrics.rejected(laneOf(alarms[at], "bulk"), isErrorCode(code) ? code : "INTERNAL");
	});
}

function codeOf(error: unknown): ErrorCode {
	const { type } = (error ?? {}) as { type?: unknown };
	return isErrorCode(type) ? type : toProblem(error).code;
}

/** The lane that was asked for; what is no lane must not become a label. */
function laneOf(alarm: unknown, otherwise: Lane): Lane {
	const { lane } = (alarm ?? {}) as { lane?: unknown };
	return LANES.find((one) => one === lane) ?? otherwise;
}
