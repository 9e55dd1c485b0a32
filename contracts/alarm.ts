/** What an alarm is, on the way in, in the inbox, and when somebody asks what became of it. JSON only; a moment is an ISO string in UTC. */

export const LANES = ["realtime", "bulk"] as const;
/** Lanes are separate streams, so that a flood of one never delays the other. */
export type Lane = (typeof LANES)[number];

/** Limits that callers can rely on; docs/limits.md lists them for producers. */
export const LIMITS = {
	userIdChars: 64,
	titleChars: 200,
	titleBytes: 600,
	bodyChars: 4_000,
	bodyBytes: 12_000,
	linkChars: 2_048,
	dataBytes: 8_192,
	dataDepth: 10,
	idempotencyKeyChars: 128,
	bulkItems: 1_000,
	requestBytes: 4 * 1024 * 1024,
	/** Of all bodies that one gateway process is reading. */
	bodyBytesInHand: 64 * 1024 * 1024,
	/** Of a request that marks alarms. */
	markRequestBytes: 16 * 1024,
	pageItems: 100,
	pageDefault: 20,
	sendAheadDays: 30,
	/** Ids of one request that redrives or discards failures. */
	redriveIds: 500,
	/** Of a request that redrives or discards failures. */
	failureRequestBytes: 64 * 1024,
	discardWhyChars: 500,
	exportRows: 10_000,
} as const;

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/** What a producer posts. Either title and body, or template and variables. */
export interface NewAlarm {
	userId: string;
	category: string;
	title?: string;
	body?: string;
	link?: string;
	data?: JsonObject;
	template?: string;
	variables?: JsonObject;
	locale?: string;
	lane?: Lane;
	occurredAt?: string;
	sendAt?: string;
	expiresAt?: string;
	idempotencyKey?: string;
}

/** The answer to an accepted creation: it is on a durable disk, and will be stored or listed as a failure. */
export interface Accepted {
	id: string;
	status: "accepted";
	via: "queue" | "outbox";
	acceptedAt: string;
}

/** One fault of one field, in words that say what to change. */
export interface FieldFault {
	field: string;
	rule: string;
	message: string;
}

export interface ItemError {
	code: string;
	message: string;
	faults?: FieldFault[];
	/** Set when it is not known whether the item was accepted: the id to ask about. */
	ids?: string[];
}
export type BulkItem = { id: string } | { error: ItemError };
export interface BulkAnswer {
	accepted: number;
	rejected: number;
	items: BulkItem[];
}

/** One alarm as the customer's inbox shows it. */
export interface InboxAlarm {
	id: string;
	category: string;
	title: string;
	body: string;
	link?: string;
	data?: JsonObject;
	occurredAt?: string;
	createdAt: string;
	read: boolean;
	readAt?: string;
}
export interface InboxPage {
	items: InboxAlarm[];
	/** Opaque. Null at the end; a page may be short or empty and still have one. */
	nextCursor: string | null;
}
export interface InboxFilter {
	userId: string;
	limit?: number;
	cursor?: string;
	category?: string;
	read?: boolean;
	from?: string;
	to?: string;
}
export interface UnreadCount {
	count: number;
	/** True when counting stopped at the cap: "99+". */
	capped: boolean;
	byCategory: Record<string, number>;
}

export const OUTCOMES = ["failed", "duplicate", "expired", "canceled"] as const;
/** What a tombstone says: why this id did not become an alarm. */
export type Outcome = (typeof OUTCOMES)[number];

/** What became of an id. `why` is set for failures, `of` for duplicates and for conflicts of an idempotency key. */
export interface AlarmStatus {
	id: string;
	status: "pending" | "stored" | Outcome;
	acceptedAt: string;
	why?: { code: string; message: string };
	of?: string;
}
