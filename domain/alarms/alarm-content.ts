import { type FieldFault, type JsonValue, LIMITS, type NewAlarm } from "../../contracts/alarm.ts";
import { parseMoment } from "../time/periods.ts";

/** What the shape rules cannot say about a new alarm: lengths in characters and bytes, moments, and what `data` may hold. */
const SKEW_MS = 60_000;
const DAY_MS = 86_400_000;
// C0 and C1 controls except tab and line ends, and DEL.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;
// `_bsontype` would make the driver take the object for one of its own types.
/** Shared, because nearly every check of every alarm finds nothing. */
const NONE: FieldFault[] = [];
const FORBIDDEN_KEYS = new Set(["__proto__", "constructor", "prototype", "_bsontype"]);

export function contentFaults(alarm: NewAlarm, nowMs: number): FieldFault[] {
	const found = [
		textFaults("title", alarm.title, LIMITS.titleChars, LIMITS.titleBytes),
		textFaults("body", alarm.body, LIMITS.bodyChars, LIMITS.bodyBytes),
		pairFaults(alarm),
		linkFaults(alarm.link),
		momentFaults(alarm, nowMs),
		dataFaults("data", alarm.data),
		dataFaults("variables", alarm.variables),
	];
	return found.every((faults) => faults === NONE) ? NONE : found.flat();
}

function pairFaults({ title, body, template, variables }: NewAlarm): FieldFault[] {
	if (template !== undefined) {
		return title === undefined && body === undefined
			? []
			: [fault("template", "exclusive", "Send either title and body, or template and variables, not both.")];
	}
	if (variables === undefined && title !== undefined && body !== undefined) return NONE;
	const missing = (field: string) => fault(field, "required", `The field "${field}" is missing.`);
	if (variables !== undefined)
		return [fault("variables", "exclusive", '"variables" can only be sent together with "template".')];
	return [...(title === undefined ? [missing("title")] : []), ...(body === undefined ? [missing("body")] : [])];
}

function textFaults(field: string, text: string | undefined, maxChars: number, maxBytes: number): FieldFault[] {
	if (text === undefined) return NONE;
	// The quick test first: `length` counts UTF-16 units and is never less than the characters.
	const chars = text.length <= maxChars ? text.length : countCharacters(text);
	if (chars > maxChars)
		return [fault(field, "tooLong", `"${field}" has ${chars} characters; at most ${maxChars} fit.`)];
	const bytes = text.length * 3 <= maxBytes ? 0 : Buffer.byteLength(text);
	if (bytes > maxBytes)
		return [fault(field, "tooManyBytes", `"${field}" has ${bytes} bytes of UTF-8; at most ${maxBytes} fit.`)];
	if (CONTROLS.test(text) || !text.isWellFormed())
		return [fault(field, "unprintable", `"${field}" holds control characters or broken Unicode.`)];
	return text.trim() === "" ? [fault(field, "blank", `"${field}" is blank.`)] : NONE;
}

function countCharacters(text: string): number {
	let count = 0;
	for (const _character of text) count++;
	return count;
}

function linkFaults(link: string | undefined): FieldFault[] {
	if (link === undefined) return NONE;
	if (CONTROLS.test(link) || !link.isWellFormed())
		return [fault("link", "unprintable", '"link" holds control characters or broken Unicode.')];
	if (!/^(javascript|data|vbscript|file):/i.test(link)) return NONE;
	return [fault("link", "scheme", `"link" must not use the scheme ${link.slice(0, link.indexOf(":"))}.`)];
}

function momentFaults({ occurredAt, sendAt, expiresAt }: NewAlarm, nowMs: number): FieldFault[] {
	if (occurredAt === undefined && sendAt === undefined && expiresAt === undefined) return NONE;
	const unreal = [
		...unrealMoment("occurredAt", occurredAt),
		...unrealMoment("sendAt", sendAt),
		...unrealMoment("expiresAt", expiresAt),
	];
	if (sendAt === undefined && expiresAt === undefined) return unreal;
	return [...unreal, ...orderFaults(sendAt, expiresAt, nowMs)];
}

function unrealMoment(field: string, text: string | undefined): FieldFault[] {
	if (text === undefined || !Number.isNaN(parseMoment(text))) return NONE;
	return [fault(field, "moment", `"${field}" is no moment that exists: ${text}.`)];
}

function orderFaults(sendAt: string | undefined, expiresAt: string | undefined, nowMs: number): FieldFault[] {
	const faults: FieldFault[] = [];
	const sendMs = sendAt === undefined ? nowMs : Date.parse(sendAt);
	if (sendMs < nowMs - SKEW_MS) faults.push(fault("sendAt", "past", `"sendAt" is past: ${sendAt}.`));
	if (sendMs > nowMs + LIMITS.sendAheadDays * DAY_MS) {
		faults.push(fault("sendAt", "tooFar", `"sendAt" is more than ${LIMITS.sendAheadDays} days ahead: ${sendAt}.`));
	}
	if (expiresAt !== undefined && Date.parse(expiresAt) <= Math.max(sendMs, nowMs)) {
		faults.push(fault("expiresAt", "past", `"expiresAt" must be after now and after "sendAt": ${expiresAt}.`));
	}
	return faults;
}

function dataFaults(field: string, data: NewAlarm["data"]): FieldFault[] {
	if (data === undefined) return NONE;
	// Depth before size: JSON.stringify would overflow the stack on what is nested thousands deep.
	const wrong = wrongInside(data, field, 1);
	if (wrong !== null) return [wrong];
	const bytes = Buffer.byteLength(JSON.stringify(data));
	if (bytes <= LIMITS.dataBytes) return NONE;
	return [fault(field, "tooManyBytes", `"${field}" has ${bytes} bytes as JSON; at most ${LIMITS.dataBytes} fit.`)];
}

/** First fault below `value`; `depth` is that of `value` itself. */
function wrongInside(value: JsonValue, path: string, depth: number): FieldFault | null {
	if (typeof value === "string")
		return value.isWellFormed() ? null : fault(path, "unprintable", `"${path}" holds broken Unicode.`);
	if (typeof value === "number")
		return isKept(value)
			? null
			: fault(path, "number", `"${path}" is a number that would be rounded: send it as text.`);
	if (typeof value !== "object" || value === null) return null;
	if (depth > LIMITS.dataDepth)
		return fault(path, "tooDeep", `"${path}" is nested more than ${LIMITS.dataDepth} deep.`);
	for (const key of Object.keys(value)) {
		const inner = (value as Record<string, JsonValue>)[key] ?? null;
		const wrong = keyFault(key, path) ?? (isPlain(inner) ? null : wrongInside(inner, `${path}.${key}`, depth + 1));
		if (wrong !== null) return wrong;
	}
	return null;
}

/** Account numbers and the like: beyond 2^53 a number has lost digits already, and 1e400 is infinite. */
function isKept(value: number): boolean {
	return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
}

/** What holds nothing that could be wrong needs no closer look. */
function isPlain(value: JsonValue): boolean {
	return value === null || typeof value === "boolean" || Number.isSafeInteger(value);
}

function keyFault(key: string, path: string): FieldFault | null {
	if (/^[\w-]+$/.test(key) && !FORBIDDEN_KEYS.has(key)) return null;
	const operator = /^\$|[.\0]|^$/.test(key) || FORBIDDEN_KEYS.has(key) || !key.isWellFormed();
	return operator
		? fault(path, "key", `"${path}" has the key ${JSON.stringify(key.slice(0, 64))}, which is not allowed.`)
		: null;
}

function fault(field: string, rule: string, message: string): FieldFault {
	return { field, rule, message };
}
