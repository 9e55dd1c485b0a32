import type { FieldFault } from "../../contracts/alarm.ts";
import { ERRORS, type ErrorCode, isErrorCode } from "../../contracts/errors.ts";
import { MOST_FAULTS } from "../../domain/validation-fault.ts";

/** Errors as callers of REST see them: problem+json (RFC 9457) with a stable code, and never a stack. */
export interface Problem {
	type: string;
	title: string;
	status: number;
	code: ErrorCode;
	detail: string;
	faults?: FieldFault[];
	/** Ids whose acceptance is not known. */
	ids?: string[];
	retryAfterS?: number;
}

/** What any error, of ours, of Moleculer or of another node, means to the caller. `action` is the one that was called, if known. */
export function toProblem(error: unknown, action?: string): Problem {
	const { type, message, data, code } = (error ?? {}) as Partial<Record<string, unknown>>;
	if (isErrorCode(type)) return problem(type, String(message), (data ?? {}) as Record<string, unknown>);
	if (type === "VALIDATION_ERROR")
		return problem("VALIDATION_FAILED", "Some fields are not as they must be.", { faults: toFaults(data) });
	if (UNKNOWN.has(String(type)) && action?.startsWith("alarm.create.")) {
		return problem("ACCEPTANCE_UNKNOWN", "The creation's answer was lost; it may have been accepted.", {
			retryAfterS: 2,
		});
	}
	if (AWAY_TYPES.has(String(type)) || AWAY_STATUSES.has(Number(code)))
		return problem("UNAVAILABLE", "A part of the service does not answer.", { retryAfterS: 1 });
	if (code === "MAX_PAYLOAD_EXCEEDED")
		return problem(
			"BODY_TOO_LARGE",
			"This gateway reaches the service over the bus, which takes at most 1 MB at once.",
		);
	if (code === 404) return problem("NOT_FOUND", "There is nothing at this address, or not for this method.");
	if (code === 400) return problem("BAD_REQUEST", "The address cannot be read.");
	return problem("INTERNAL", "Something went wrong on our side; it has been logged.");
}

/** The call may have been carried out: its answer did not come in time, or was lost with the node that had it. */
const UNKNOWN = new Set(["REQUEST_TIMEOUT", "REQUEST_REJECTED"]);

/** Moleculer's words for a part that does not answer. */
const AWAY_TYPES = new Set([
	"REQUEST_TIMEOUT",
	"REQUEST_SKIPPED",
	"REQUEST_REJECTED",
	"SERVICE_NOT_FOUND",
	"SERVICE_NOT_AVAILABLE",
	"QUEUE_FULL",
	"GRACEFUL_STOP_TIMEOUT",
]);
/** Of Moleculer and moleculer-web, for a service that is on no node, or a bus that is down. */
const AWAY_STATUSES = new Set([502, 503, 504]);

function problem(code: ErrorCode, detail: string, data: Record<string, unknown> = {}): Problem {
	const { status, title } = ERRORS[code];
	const { faults, ids, retryAfterS } = data as Partial<Problem>;
	return {
		type: `/docs/errors#${code}`,
		title,
		status,
		code,
		detail,
		...(faults && { faults }),
		...(ids && { ids }),
		...(retryAfterS !== undefined && { retryAfterS }),
	};
}

/** One entry of fastest-validator's report. */
interface ShapeError {
	type: string;
	field?: string;
	message?: string;
	actual?: unknown;
	expected?: unknown;
}

/** Whose message says what is wanted. The validator's own text of a pattern has lost its backslashes; lists may be long. */
const IN_WORDS = new Set(["stringPattern", "enumValue"]);

export function toFaults(report: unknown): FieldFault[] {
	return Array.isArray(report) ? (report as ShapeError[]).flatMap(toFault).slice(0, MOST_FAULTS) : [];
}

function toFault({ type, field = "", message = "", actual, expected }: ShapeError): FieldFault[] {
	if (type === "objectStrict") {
		return String(actual)
			.split(", ", MOST_FAULTS)
			.map((name) => name.slice(0, 80))
			.map((name) => ({ field: name, rule: "unknown", message: `There is no field "${name}".` }));
	}
	if (type === "required") return [{ field, rule: type, message }];
	const wanted = expected === undefined || IN_WORDS.has(type) ? "" : `; expected: ${brief(expected)}`;
	return [{ field, rule: type, message: `${message} (given: ${brief(actual)}${wanted})` }];
}

/** The offending value, short enough for a message. Objects only by their kind: they may be deep and large. */
function brief(value: unknown): string {
	if (Array.isArray(value)) return "a list";
	if (typeof value === "object" && value !== null) return "an object";
	const text = JSON.stringify(value) ?? "nothing";
	return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
