import http, { type ClientRequest, type IncomingMessage } from "node:http";
import https from "node:https";
import type { Reply } from "./replies.ts";

/** The service's REST API with one key, over connections that are kept. node:http. */
export interface RestApi {
	get(path: string): Promise<Reply>;
	post(path: string, body: string): Promise<Reply>;
	/** Cuts what is still in hand: those requests end without an answer. */
	close(): void;
}

/** A creation is answered within 3 s; who says nothing for so long will not answer any more. */
const SILENCE_LIMIT_MS = 30_000;

export function restApi(url: string, key: string, connections: number): RestApi {
	const { Agent, request } = url.startsWith("https:") ? https : http;
	const agent = new Agent({ keepAlive: true, maxSockets: connections });
	const root = url.replace(/\/+$/, "");
	const headers = { authorization: `Bearer ${key}` };
	const send = (method: string, path: string, body?: string) => {
		const own = body === undefined ? headers : { ...headers, ...bodyHeaders(body) };
		return replyOf(request(root + path, { method, agent, headers: own, timeout: SILENCE_LIMIT_MS }), body);
	};
	return {
		get: (path) => send("GET", path),
		post: (path, body) => send("POST", path, body),
		close: () => agent.destroy(),
	};
}

function bodyHeaders(body: string): Record<string, string | number> {
	return { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
}

function replyOf(request: ClientRequest, body: string | undefined): Promise<Reply> {
	const { promise, resolve } = Promise.withResolvers<Reply>();
	// From the moment it has a connection, nobody knows what of a request has arrived.
	let reached = false;
	request.on("socket", (socket) => {
		reached = !socket.connecting;
		if (!reached) socket.once("connect", () => (reached = true));
	});
	const fail = (error: NodeJS.ErrnoException) => resolve({ kind: "none", reached, cause: error.code ?? error.message });
	request.on("timeout", () => request.destroy(new Error(`no answer within ${SILENCE_LIMIT_MS / 1_000} s`)));
	request.on("error", fail);
	request.on("response", (response) => void readReply(response).then(resolve, fail));
	request.end(body);
	return promise;
}

async function readReply(response: IncomingMessage): Promise<Reply> {
	const parts: Buffer[] = [];
	for await (const part of response) parts.push(part as Buffer);
	const retryAfterS = Number.parseInt(response.headers["retry-after"] ?? "", 10);
	return {
		kind: "answer",
		status: response.statusCode ?? 0,
		body: parseOrNull(Buffer.concat(parts).toString()),
		...(Number.isInteger(retryAfterS) && { retryAfterS }),
	};
}

function parseOrNull(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return null;
	}
}
