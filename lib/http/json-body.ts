import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import rawBody from "raw-body";
import secureJson from "secure-json-parse";
import { Fault } from "../../contracts/errors.ts";
import type { BodyBudget } from "./body-budget.ts";

/**
 * Reads a JSON body within its limit and the budget. Our own order matters: moleculer-web would parse bodies before it authenticates.
 * secure-json-parse refuses `__proto__`, which JSON.parse would hand on.
 */
export async function readJsonBody(
	req: IncomingMessage,
	limitBytes: number,
	budget: BodyBudget,
): Promise<Record<string, unknown>> {
	assertJson(req);
	const bytes = mostBytesOf(req, limitBytes);
	takeRoom(req, bytes, budget);
	try {
		return toObject(await readBytes(req, limitBytes));
	} finally {
		budget.give(bytes);
	}
}

/** What is announced, within the limit: a body beyond it is not kept. */
function mostBytesOf({ headers }: IncomingMessage, limitBytes: number): number {
	return Math.min(Number(headers["content-length"] ?? limitBytes), limitBytes);
}

function takeRoom(req: IncomingMessage, bytes: number, budget: BodyBudget): void {
	try {
		budget.take(bytes);
	} catch (error) {
		// Thrown away as it comes. Closing at once would reset the connection, and the client would not see that nothing was accepted.
		req.resume();
		throw error;
	}
}

function toObject(bytes: Buffer): Record<string, unknown> {
	const value = parse(bytes);
	if (typeof value !== "object" || value === null || Array.isArray(value))
		throw new Fault("BROKEN_JSON", "The body must be a JSON object.");
	rejectDeep(value);
	return value as Record<string, unknown>;
}

/** Deeper than any field may be: what descends into it (validators, serializers) would overflow the stack. */
const MOST_DEPTH = 32;

function rejectDeep(value: object): void {
	if (isDeeper(value, MOST_DEPTH)) throw new Fault("BROKEN_JSON", `The body is nested more than ${MOST_DEPTH} deep.`);
}

/** Looks only so deep as is allowed, and so cannot overflow the stack itself. */
function isDeeper(value: object, levels: number): boolean {
	if (levels === 0) return true;
	for (const key in value) {
		const inner = (value as Record<string, unknown>)[key];
		if (typeof inner === "object" && inner !== null && isDeeper(inner, levels - 1)) return true;
	}
	return false;
}

function assertJson(req: IncomingMessage): void {
	const type = req.headers["content-type"] ?? "";
	if (!/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) {
		throw new Fault(
			"UNSUPPORTED_MEDIA_TYPE",
			`Send Content-Type: application/json (given: ${type.slice(0, 80) || "none"}).`,
		);
	}
	const encoding = req.headers["content-encoding"] ?? "identity";
	if (encoding !== "identity")
		throw new Fault("UNSUPPORTED_MEDIA_TYPE", `Bodies must not be compressed (given: ${encoding.slice(0, 80)}).`);
}

async function readBytes(req: IncomingMessage, limitBytes: number): Promise<Buffer> {
	try {
		return await rawBody(req, { limit: limitBytes, length: req.headers["content-length"] ?? null });
	} catch (error) {
		// What is still coming is read and thrown away, so that the client gets to see the answer.
		req.resume();
		if ((error as { type?: string }).type === "entity.too.large") {
			throw new Fault("BODY_TOO_LARGE", `The body may have at most ${limitBytes} bytes here.`);
		}
		throw new Fault("BAD_REQUEST", "The body ended early.");
	}
}

function parse(bytes: Buffer): unknown {
	if (!isUtf8(bytes)) throw new Fault("BROKEN_JSON", "The body is not UTF-8.");
	try {
		// Looking for the few bodies that need care is ten times as fast as taking care with all.
		if (!bytes.includes("__proto__") && !bytes.includes("\\u")) return JSON.parse(bytes.toString());
		return secureJson.parse(bytes.toString(), undefined, { protoAction: "error", constructorAction: "ignore" });
	} catch (error) {
		throw new Fault(
			"BROKEN_JSON",
			`The body is not valid JSON: ${error instanceof Error ? error.message : String(error)}.`,
		);
	}
}
