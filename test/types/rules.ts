import type { Params } from "../../contracts/actions.ts";
import { INBOX_KEY, NEW_ALARM } from "../../contracts/rules.ts";
import { defineService, type Rules } from "../../lib/moleculer/service.ts";

// One rule per field: none forgotten, none invented. Checked by tsc and never run.

type Status = Rules<Params<"alarm.query.status">>;

export const rightRules: Status = { $$strict: true, id: "string" };
export const rightKey: Rules<Params<"alarm.query.get">> = INBOX_KEY;
export const rightAlarm: Rules<Params<"alarm.create.submit">> = NEW_ALARM;

// @ts-expect-error a field without a rule
export const forgotten: Status = { $$strict: true };
// @ts-expect-error a rule for a field that does not exist
export const invented: Status = { $$strict: true, id: "string", colour: "string" };
// @ts-expect-error unknown fields would pass
export const lax: Status = { id: "string" };
// @ts-expect-error unknown fields would be taken out in silence
export const silent: Status = { $$strict: "remove", id: "string" };
// @ts-expect-error optional fields need a rule, too
export const withoutLimit: Rules<Params<"alarm.query.readAll">> = {
	$$strict: true,
	userId: "string",
	before: "string",
};
// @ts-expect-error a rule is no number
export const noRule: Status = { $$strict: true, id: 7 };

const bulk = {
	access: ["producer"],
	params: { $$strict: true, alarms: "array" },
	async handler() {
		return { accepted: 0, rejected: 0, items: [] };
	},
} as const;

export const wrongParams = defineService<"alarm.create">({
	name: "alarm.create",
	actions: {
		submit: {
			access: ["producer"],
			params: NEW_ALARM,
			async handler(ctx) {
				// @ts-expect-error a member that the params do not have
				const id: string = ctx.params.colour;
				return { id, status: "accepted", via: "queue", acceptedAt: "" };
			},
		},
		bulk,
	},
});

export const wrongAnswer = defineService<"alarm.create">({
	name: "alarm.create",
	actions: {
		submit: {
			access: ["producer"],
			params: NEW_ALARM,
			// @ts-expect-error a way that the contract does not know
			async handler() {
				return { id: "x", status: "accepted", via: "pigeon", acceptedAt: "" };
			},
		},
		bulk,
	},
});

export const fieldWithoutRule = defineService<"alarm.create">({
	name: "alarm.create",
	actions: {
		submit: {
			access: ["producer"],
			// @ts-expect-error a field of the contract has no rule
			params: { $$strict: true, userId: "string" },
			async handler() {
				return { id: "x", status: "accepted", via: "queue", acceptedAt: "" };
			},
		},
		bulk,
	},
});
