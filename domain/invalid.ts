import type { FieldFault } from "../contracts/alarm.ts";
import { Fault } from "../contracts/errors.ts";

/** So many are told: enough to mend a request by, too few to make the answer larger than the question. */
export const MOST_FAULTS = 20;

/** A request that is refused for its fields, wherever that is found out. */
export function invalid(faults: FieldFault[]): Fault {
	return new Fault("VALIDATION_FAILED", "Some fields are not as they must be.", {
		faults: faults.slice(0, MOST_FAULTS),
	});
}
