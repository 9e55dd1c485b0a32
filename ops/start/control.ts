import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What `npm run cluster:add` asks of a running `npm start`: another database, that is started and stopped with the others. */
export interface Control {
	url: string;
	stop(): Promise<void>;
}

/** Starts the database `name`, or finds it running, and tells its address. */
export type Grow = (name: string) => Promise<string>;

const HOST = "127.0.0.1";
const REQUEST_BYTES = 1_000;

/** On the loopback, for whoever has the operator's key. */
export async function startControl(opsKey: string, grow: Grow): Promise<Control> {
	const server = createServer((request, response) => {
		answer(request, opsKey, grow).then(
			({ status, body }) => send(response, status, body),
			(error: unknown) => send(response, 500, { detail: error instanceof Error ? error.message : String(error) }),
		);
	});
	const listening = Promise.withResolvers<void>();
	server.once("error", listening.reject);
	server.listen(0, HOST, listening.resolve);
	await listening.promise;
	const stop = async () => {
		const closed = Promise.withResolvers<void>();
		server.close(() => closed.resolve());
		server.closeAllConnections();
		await closed.promise;
	};
	return { url: `http://${HOST}:${(server.address() as AddressInfo).port}`, stop };
}

async function answer(request: IncomingMessage, opsKey: string, grow: Grow): Promise<{ status: number; body: object }> {
	if (request.headers.authorization !== `Bearer ${opsKey}`)
		return { status: 401, body: { detail: "send the operator's key" } };
	if (request.method !== "POST" || request.url !== "/databases")
		return { status: 404, body: { detail: "there is POST /databases {name}" } };
	const { name } = JSON.parse(await textOf(request)) as { name?: unknown };
	if (typeof name !== "string" || !/^c\d{1,3}$/.test(name))
		return { status: 422, body: { detail: "a database of the local start is called c2, c3, …" } };
	return { status: 200, body: { name, uri: await grow(name) } };
}

async function textOf(request: IncomingMessage): Promise<string> {
	let text = "";
	for await (const chunk of request) {
		text += chunk;
		if (text.length > REQUEST_BYTES) throw new Error("the request is too long");
	}
	return text;
}

function send(response: ServerResponse, status: number, body: object): void {
	response.writeHead(status, { "Content-Type": "application/json" });
	response.end(JSON.stringify(body));
}
