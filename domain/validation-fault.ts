import type { FieldFault } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";
import { parseMoment } from "./time/periods.ts";

/** So many are told: enough to mend a request by, too few to make the answer larger than the question. */
export const MOST_FAULTS = 20;

/** A request that is refused for its fields, wherever that is found out. */
export function invalid(faults: FieldFault[]): Fault {
	return new Fault("VALIDATION_FAILED", "Some fields are not as they must be.", {
		faults: faults.slice(0, MOST_FAULTS),
	});
}

/** A moment of a request, in ms. @throws {Fault} VALIDATION_FAILED for one that does not exist. */
export function momentMs(field: string, text: string): number {
	const timeMs = parseMoment(text);
	if (!Number.isNaN(timeMs)) return timeMs;
	throw invalid([{ field, rule: "moment", message: `"${field}" is no moment that exists: ${text}.` }]);
}
