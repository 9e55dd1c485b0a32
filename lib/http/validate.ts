import { Validators } from "moleculer";
import type { FieldFault } from "../../contracts/alarm.ts";
import { toFaults } from "./problem.ts";

/** Moleculer's own validator, for what has no action of its own: the items of a bulk request. */
const validator = new Validators.Fastest({
	// Its own sentence calls the allowed values the field's.
	messages: { enumValue: "The '{field}' field must be one of these: {expected}." },
});

export function shapeCheck(rules: Record<string, unknown>): (value: unknown) => FieldFault[] {
	const check = validator.compile(rules);
	return (value) => {
		if (typeof value !== "object" || value === null || Array.isArray(value)) {
			return [{ field: "", rule: "object", message: "It must be a JSON object." }];
		}
		const report = check(value as Record<string, unknown>);
		return report === true ? [] : toFaults(report);
	};
}
