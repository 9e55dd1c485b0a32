import { LANES, LIMITS } from "./alarm.ts";
import { RUN_KINDS, RUN_STATES } from "./archive.ts";
import { FAILURES } from "./errors.ts";
import { CHANGE_KINDS } from "./shards.ts";

/** fastest-validator rules of each action's params: shapes only. What a shape cannot say is in domain/alarms/alarm-content.ts. */

const ISO_UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/;
/** A pattern, and what it asks for in words: a regular expression tells few people what to change. */
function like(pattern: RegExp, words: string) {
	return { pattern, messages: { stringPattern: `The '{field}' field must be ${words}.` } } as const;
}
const moment = {
	type: "string",
	...like(ISO_UTC, "a moment in UTC like 2026-11-22T10:00:00Z"),
	optional: true,
} as const;

export const USER_ID = {
	type: "string",
	min: 1,
	max: LIMITS.userIdChars,
	...like(/^[\w.@:-]+$/, "of letters, digits and _ . @ : - only"),
} as const;
export const CATEGORY = {
	type: "string",
	max: 32,
	...like(/^[a-z][a-z0-9_-]*$/, "of small letters, digits, _ and -, and begin with a letter"),
} as const;
/** 20 bytes as base64url. */
export const ALARM_ID = {
	type: "string",
	length: 27,
	...like(/^[\w-]{27}$/, "the id of an alarm, of letters, digits, _ and -"),
} as const;

export const NEW_ALARM = {
	$$strict: true,
	userId: USER_ID,
	category: CATEGORY,
	title: { type: "string", min: 1, optional: true },
	body: { type: "string", min: 1, optional: true },
	link: {
		type: "string",
		max: LIMITS.linkChars,
		...like(/^[a-z][a-z0-9+.-]*:\/\/\S+$/i, "an address like app://cards/1"),
		optional: true,
	},
	data: { type: "object", optional: true },
	template: { type: "string", min: 1, max: 128, optional: true },
	variables: { type: "object", optional: true },
	locale: {
		type: "string",
		max: 35,
		...like(/^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$/, "a language like ko-KR"),
		optional: true,
	},
	lane: { type: "enum", values: [...LANES], optional: true },
	occurredAt: moment,
	sendAt: moment,
	expiresAt: moment,
	idempotencyKey: {
		type: "string",
		min: 1,
		max: LIMITS.idempotencyKeyChars,
		...like(/^[\x21-\x7e]+$/, "of visible ASCII characters, without spaces"),
		optional: true,
	},
} as const;

export const BULK = {
	$$strict: true,
	alarms: { type: "array", min: 1, max: LIMITS.bulkItems, items: "any" },
} as const;

export const INBOX_FILTER = {
	$$strict: true,
	userId: USER_ID,
	limit: { type: "number", integer: true, min: 1, max: LIMITS.pageItems, convert: true, optional: true },
	cursor: { type: "string", min: 1, max: 128, optional: true },
	category: { ...CATEGORY, optional: true },
	read: { type: "boolean", convert: true, optional: true },
	from: moment,
	to: moment,
} as const;

export const INBOX_KEY = { $$strict: true, userId: USER_ID, id: ALARM_ID } as const;
export const INBOX_OWNER = { $$strict: true, userId: USER_ID } as const;
export const MARK = { ...INBOX_KEY, read: { type: "boolean" } } as const;
export const READ_ALL = {
	...INBOX_OWNER,
	category: { ...CATEGORY, optional: true },
	before: moment,
} as const;
export const CUSTOMER = INBOX_OWNER;
export const STATUS_KEY = { $$strict: true, id: ALARM_ID } as const;
/** Names of credentials; a producer's stands in the failures of its alarms. */
const FAILURE_FIELDS = {
	producer: { type: "string", min: 1, max: 64, optional: true },
	code: { type: "enum", values: Object.keys(FAILURES), optional: true },
	userId: { ...USER_ID, optional: true },
	from: moment,
	to: moment,
} as const;
export const FAILURE_EXPORT = {
	$$strict: true,
	...FAILURE_FIELDS,
	cursor: { type: "string", min: 1, max: 128, optional: true },
	discarded: { type: "boolean", convert: true, optional: true },
} as const;
export const FAILURE_QUERY = {
	...FAILURE_EXPORT,
	limit: { type: "number", integer: true, min: 1, max: LIMITS.pageItems, convert: true, optional: true },
} as const;
const FAILURE_IDS = { type: "array", min: 1, max: LIMITS.redriveIds, items: ALARM_ID, unique: true } as const;
export const REDRIVE = {
	$$strict: true,
	ids: { ...FAILURE_IDS, optional: true },
	filter: { type: "object", strict: true, props: FAILURE_FIELDS, optional: true },
	limit: { type: "number", integer: true, min: 1, max: LIMITS.redriveIds, convert: true, optional: true },
} as const;
export const DISCARD = {
	$$strict: true,
	ids: FAILURE_IDS,
	why: { type: "string", trim: true, min: 1, max: LIMITS.discardWhyChars },
} as const;
/** Ledger days, today included; the ledger is kept a week. */
export const RECONCILE = {
	$$strict: true,
	days: { type: "number", integer: true, min: 1, max: 7, convert: true, optional: true },
} as const;
const count = { type: "number", integer: true, convert: true, optional: true } as const;
export const ARCHIVE_REQUEST = {
	$$strict: true,
	month: {
		type: "string",
		...like(/^\d{4}_(0[1-9]|1[0-2])$/, "a month like 2026_08"),
		optional: true,
	},
	shard: { ...count, min: 0, max: 255 },
	rate: { ...count, min: 1, max: 1_000_000 },
	confirmDrops: { ...count, min: 1, max: 1_000 },
	trustClock: { type: "boolean", convert: true, optional: true },
	fresh: { type: "boolean", convert: true, optional: true },
} as const;
export const RUN_QUERY = {
	$$strict: true,
	state: { type: "enum", values: [...RUN_STATES], optional: true },
	kind: { type: "enum", values: [...RUN_KINDS], optional: true },
	limit: { ...count, min: 1, max: 1_000 },
} as const;
const SHARD = { type: "number", integer: true, convert: true, min: 0, max: 255 } as const;
const rate = { ...count, min: 1, max: 1_000_000 } as const;
export const SHARD_KEY = { $$strict: true, shard: SHARD } as const;
export const SHARD_MOVE = {
	...SHARD_KEY,
	to: { type: "string", pattern: /^[a-z][a-z0-9-]{0,15}$/ },
	rate,
	fresh: { type: "boolean", convert: true, optional: true },
} as const;
export const SHARD_RESUME = { ...SHARD_KEY, rate } as const;
export const REBALANCE = { $$strict: true, confirm: { type: "string", pattern: /^[0-9a-f]{8}$/ }, rate } as const;
export const HISTORY_QUERY = {
	$$strict: true,
	shard: { ...SHARD, optional: true },
	kind: { type: "enum", values: [...CHANGE_KINDS], optional: true },
	limit: { ...count, min: 1, max: 1_000 },
	before: { ...count, min: 1 },
} as const;
export const RUN_KEY = { $$strict: true, id: { type: "string", min: 1, max: 64, pattern: /^[\w-]+$/ } } as const;
/** Shapes alone: what is wrong with an address is told without it (`domain/routing/clusters.ts`), because a password may stand in it. */
export const CLUSTER_REQUEST = {
	$$strict: true,
	name: { type: "string", min: 1, max: 16 },
	uri: { type: "string", min: 1, max: 2_048 },
} as const;
export const CLUSTER_KEY = { $$strict: true, name: { type: "string", min: 1, max: 16 } } as const;
export const NOTHING = { $$strict: true } as const;
