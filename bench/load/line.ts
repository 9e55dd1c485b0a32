import { connect, type Socket } from "node:net";

/**
 * One keep-alive connection with one request in flight. Over plain sockets, because a generator shares the machine with what it
 * measures: a quarter of a core sends 20,000 creations per second.
 */
export class Line {
	readonly #socket: Socket;
	#held: Buffer | null = null;
	#settle: ((reply: Reply) => void) | null = null;

	constructor(port: number) {
		this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
		this.#socket.on("data", (chunk) => this.#take(chunk));
		this.#socket.on("error", () => this.#done(LOST));
		this.#socket.on("close", () => this.#done(LOST));
	}

	/** `settle` is called once, with the reply or with status 0 when the connection is lost. */
	send(request: Buffer, settle: (reply: Reply) => void): void {
		this.#settle = settle;
		if (this.#socket.destroyed) setImmediate(() => this.#done(LOST));
		else this.#socket.write(request);
	}

	/** By either side. */
	get isClosed(): boolean {
		return this.#socket.destroyed || this.#socket.readableEnded;
	}

	close(): void {
		this.#socket.destroy();
	}

	#take(chunk: Buffer): void {
		const bytes = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
		const bodyAt = bodyStart(bytes);
		this.#held = isWhole(bytes, bodyAt) ? null : bytes;
		if (this.#held === null) this.#done({ status: statusOf(bytes), body: () => bodyOf(bytes, bodyAt) });
	}

	#done(reply: Reply): void {
		const settle = this.#settle;
		this.#settle = null;
		settle?.(reply);
	}
}

export interface Reply {
	status: number;
	/** The body's text; made only when asked for. */
	body(): string;
}

const LOST: Reply = { status: 0, body: () => "" };
const CHUNKS_END = Buffer.from("0\r\n\r\n");

function bodyStart(bytes: Buffer): number {
	const at = bytes.indexOf("\r\n\r\n");
	return at === -1 ? -1 : at + 4;
}

function isWhole(bytes: Buffer, bodyAt: number): boolean {
	if (bodyAt === -1) return false;
	const head = bytes.toString("latin1", 0, bodyAt);
	const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
	if (length !== undefined) return bytes.length >= bodyAt + Number(length);
	return !/\r\ntransfer-encoding: chunked/i.test(head) || bytes.subarray(-CHUNKS_END.length).equals(CHUNKS_END);
}

function statusOf(bytes: Buffer): number {
	return Number(bytes.toString("latin1", 9, 12));
}

/** Chunk sizes stay in the text: who looks for one field does not mind. */
function bodyOf(bytes: Buffer, bodyAt: number): string {
	return bytes.toString("utf8", bodyAt);
}

/** One request of a load, before it is bytes. */
export interface Request {
	method: "GET" | "POST" | "PATCH";
	path: string;
	auth?: string;
	body?: unknown;
}

export function encodeRequest({ method, path, auth, body }: Request): Buffer {
	const text = body === undefined ? "" : JSON.stringify(body);
	const head = [`${method} ${path} HTTP/1.1`, "host: 127.0.0.1"];
	if (auth !== undefined) head.push(`authorization: Bearer ${auth}`);
	if (body !== undefined) head.push("content-type: application/json", `content-length: ${Buffer.byteLength(text)}`);
	return Buffer.from(`${head.join("\r\n")}\r\n\r\n${text}`);
}
