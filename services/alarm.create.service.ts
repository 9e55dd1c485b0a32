import type { ServiceSchema } from "moleculer";
import type { GroupCommit } from "../accept/group-commit.ts";
import type { Config } from "../config.ts";
import { type Accepted, type BulkItem, LANES, type NewAlarm } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import { BULK, NEW_ALARM } from "../contracts/rules.ts";
import { prepare, type Submission } from "../domain/alarms/submission.ts";
import { invalid } from "../domain/validation-fault.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { type Problem, toProblem } from "../lib/http/problem.ts";
import { shapeCheck } from "../lib/http/validate.ts";
import { type Metrics, metricsOf } from "../lib/metrics/metrics.ts";
import { defineService } from "../lib/moleculer/service.ts";
import { acceptance, type HasAcceptance } from "../mixins/acceptance.mixin.ts";
import { admission } from "../mixins/admission.mixin.ts";
import { clock } from "../mixins/clock.mixin.ts";

interface Vars extends HasAcceptance, HasAdmission {
	metrics: Metrics;
}

/** Waiting, publishing and the outbox take less; a node that is silent for three seconds is lost. */
const CREATION_MS = 3_000;

const itemFaults = shapeCheck(NEW_ALARM);

/** Accepts alarms: checked, packed, on a durable disk, answered. Never reads a database on the way. */
export default function alarmCreate(config: Config): ServiceSchema {
	return defineService<"alarm.create", Vars>({
		name: "alarm.create",
		mixins: [acceptance(config), admission(config), clock(config)],
		actions: {
			submit: {
				access: ["producer"],
				timeout: CREATION_MS,
				params: NEW_ALARM,
				async handler(ctx, caller) {
					const { item, lane, acceptedAtMs } = prepare(ctx.params, caller.name, Date.now(), "realtime");
					const via = await this.packers[lane].add(item);
					this.metrics.accepted(lane, via);
					return {
						id: item.shown,
						status: "accepted",
						via,
						acceptedAt: new Date(acceptedAtMs).toISOString(),
					};
				},
			},
			bulk: {
				access: ["producer"],
				timeout: CREATION_MS,
				params: BULK,
				async handler(ctx, caller) {
					const nowMs = Date.now();
					const prepared = ctx.params.alarms.map((alarm) => prepareItem(alarm, caller.name, nowMs));
					const items = await acceptAll(this, prepared);
					const accepted = items.filter((item) => "id" in item).length;
					return { accepted, rejected: items.length - accepted, items };
				},
			},
		},
		async started() {
			this.metrics = metricsOf(this.broker);
		},
	});
}

/** A submission, or what is wrong with the item: one bad item does not refuse the others. */
function prepareItem(alarm: unknown, producer: string, nowMs: number): Submission | BulkItem {
	try {
		const faults = itemFaults(alarm);
		if (faults.length > 0) throw invalid(faults);
		return prepare(alarm as NewAlarm, producer, nowMs, "bulk");
	} catch (error) {
		return itemError(error);
	}
}

function itemError(error: unknown): BulkItem {
	const { code, detail, faults, ids } = toProblem(error, "alarm.create.bulk");
	return { error: { code, message: detail, ...(faults && { faults }), ...(ids && { ids }) } };
}

/** What became of one submission; `refusal` where it was not accepted. */
interface Outcome {
	item: BulkItem;
	rejection?: Problem;
}

/** @throws {Fault} OVERLOADED when that is the answer to every item: the whole request can be sent again as it is. */
async function acceptAll({ packers, metrics }: Vars, prepared: (Submission | BulkItem)[]): Promise<BulkItem[]> {
	const submissions = prepared.filter((one) => "item" in one);
	const done = new Map<Submission, Outcome>();
	await Promise.all(
		LANES.map((lane) =>
			acceptLane(
				packers[lane],
				submissions.filter((one) => one.lane === lane),
				done,
				(via) => metrics.accepted(lane, via),
			),
		),
	);
	if (submissions.length === prepared.length) rejectOverloaded([...done.values()]);
	return prepared.map((one) => ("item" in one ? (done.get(one)?.item ?? itemError(undefined)) : one));
}

function rejectOverloaded(outcomes: Outcome[]): void {
	const [first] = outcomes;
	if (!outcomes.every(({ rejection }) => rejection?.code === "OVERLOADED") || first?.rejection === undefined) return;
	const retryAfterS = Math.max(...outcomes.map(({ rejection }) => rejection?.retryAfterS ?? 1));
	throw new Fault("OVERLOADED", first.rejection.detail, { retryAfterS });
}

async function acceptLane(
	packer: GroupCommit,
	submissions: Submission[],
	done: Map<Submission, Outcome>,
	onAccepted: (via: Accepted["via"]) => void,
): Promise<void> {
	const settled = await packer.addMany(submissions.map(({ item }) => item));
	submissions.forEach((submission, index) => {
		const one = settled[index];
		if (one?.status === "fulfilled") onAccepted(one.value);
		done.set(
			submission,
			one?.status === "fulfilled" ? { item: { id: submission.item.shown } } : rejectedItem(submission, one?.reason),
		);
	});
}

/** An item whose acceptance is not known keeps its own id, to be asked about; of one that was refused there is none. */
function rejectedItem({ item }: Submission, reason: unknown): Outcome {
	const rejection = toProblem(reason, "alarm.create.bulk");
	const { code, detail: message } = rejection;
	const ids = code === "ACCEPTANCE_UNKNOWN" ? { ids: [item.shown] } : {};
	return { item: { error: { code, message, ...ids } }, rejection };
}
