/**
 * Every error a caller can meet: stable code, HTTP status, whether sending the same request again can help,
 * and the short title of its problem+json. Documented in docs/errors.md; a test compares the two.
 */
export const ERRORS = {
	VALIDATION_FAILED: { status: 422, retry: false, title: "The request has invalid fields" },
	BROKEN_JSON: { status: 400, retry: false, title: "The body is not valid JSON" },
	BROKEN_CURSOR: { status: 400, retry: false, title: "The cursor was not issued for this list" },
	BAD_REQUEST: { status: 400, retry: false, title: "The request cannot be understood" },
	UNAUTHENTICATED: { status: 401, retry: false, title: "A valid credential is needed" },
	FORBIDDEN: { status: 403, retry: false, title: "This credential may not do that" },
	NOT_FOUND: { status: 404, retry: false, title: "There is nothing at this address" },
	ALARM_NOT_FOUND: { status: 404, retry: false, title: "The inbox has no such alarm" },
	SHARD_NOT_FOUND: { status: 404, retry: false, title: "There is no such shard" },
	MOVE_NOT_FOUND: { status: 404, retry: false, title: "This shard has no move that is not over" },
	RUN_NOT_FOUND: { status: 404, retry: false, title: "There is no run of this id" },
	CLUSTER_UNKNOWN: { status: 404, retry: false, title: "There is no service cluster of this name" },
	UNKNOWN_ALARM: { status: 404, retry: false, title: "This id was never issued, or is long gone" },
	ALARM_ARCHIVED: { status: 409, retry: false, title: "Archived alarms are read-only" },
	TOO_MANY_MARKS: { status: 409, retry: false, title: "Too many alarms are marked unread one by one" },
	CLUSTER_NAME_TAKEN: { status: 409, retry: false, title: "The name is that of another cluster" },
	CLUSTER_KNOWN: { status: 409, retry: false, title: "The system has this cluster already, by another name" },
	CLUSTER_NOT_EMPTY: { status: 409, retry: false, title: "The cluster holds data of an alarm service" },
	CLUSTER_IN_USE: { status: 409, retry: false, title: "The cluster cannot be retired now" },
	MOVE_REJECTED: {
		status: 409,
		retry: false,
		title: "The shard cannot be moved, or its move not be changed, in this way",
	},
	PLAN_CHANGED: { status: 409, retry: false, title: "The plan is not the one that was confirmed" },
	BODY_TOO_LARGE: { status: 413, retry: false, title: "The body is larger than the limit" },
	UNSUPPORTED_MEDIA_TYPE: { status: 415, retry: false, title: "The body must be application/json" },
	CLUSTER_UNFIT: { status: 422, retry: false, title: "The cluster is not set as it must be" },
	TEMPLATES_UNAVAILABLE: { status: 422, retry: false, title: "Templates are not available yet" },
	CLUSTER_UNREACHABLE: { status: 503, retry: true, title: "The cluster to be added does not answer" },
	ACCEPTANCE_UNKNOWN: { status: 503, retry: true, title: "It is not known whether the alarm was accepted" },
	OVERLOADED: { status: 503, retry: true, title: "Nothing was accepted; try again in a moment" },
	ARCHIVE_UNAVAILABLE: { status: 503, retry: true, title: "The archive of older alarms does not answer" },
	UNAVAILABLE: { status: 503, retry: true, title: "A part that is needed does not answer" },
	INTERNAL: { status: 500, retry: true, title: "Something went wrong on our side" },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** An error that is part of the contract. Between nodes only `type` and `data` survive: compare `type`, never the class. */
export class Fault extends Error {
	readonly type: ErrorCode;
	/** HTTP status; Moleculer's name for it. */
	readonly code: number;
	readonly retryable: boolean;
	readonly data: Record<string, unknown>;

	constructor(type: ErrorCode, message: string, data: Record<string, unknown> = {}) {
		super(message);
		this.name = "Fault";
		this.type = type;
		this.code = ERRORS[type].status;
		this.retryable = ERRORS[type].retry;
		this.data = data;
	}
}

export function isErrorCode(value: unknown): value is ErrorCode {
	return typeof value === "string" && Object.hasOwn(ERRORS, value);
}

/** Why an accepted alarm could not be stored; the `code` of a failure row. */
export const FAILURES = {
	CLOCK_SKEW: "The creating node's clock was more than a minute ahead.",
	MONTH_CLOSED: "The month of this alarm is no longer open for writing.",
	IDEMPOTENCY_CONFLICT: "The idempotency key stands for an alarm with other content.",
	KEY_DAY_CLOSED: "Too late to tell whether the idempotency key was used before.",
	CORRUPT_ITEM: "The queued item could not be read.",
	STORE_REJECTED: "The database refused the document.",
} as const;
export type FailureCode = keyof typeof FAILURES;
