import { Agent, createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createProxyServer } from "http-proxy-3";
import { ERRORS } from "../contracts/errors.ts";

/** Whom a request is for: one of the two edges that serve people, or everything else. */
type Route = "create" | "query" | "ops";
export type Targets = Record<Route, string>;

export interface Front {
	url: string;
	/** Takes no new requests, lets those in hand end for a moment, cuts streams at once. */
	stop(): Promise<void>;
}

const HOST = "127.0.0.1";
const ANSWER_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 5_000;
const STATUS_PATH = /^\/v1\/alarms\/[^/]+\/status$/;

/** The edge that a request belongs to. */
export function routeOf(method: string, url: string): Route {
	const path = url.split("?", 1)[0] ?? "";
	if (method === "POST" && isUnder(path, "/v1/alarms")) return "create";
	const query = isUnder(path, "/v1/users") || isUnder(path, "/v1/failures") || STATUS_PATH.test(path);
	return query ? "query" : "ops";
}

function isUnder(path: string, root: string): boolean {
	return path === root || path.startsWith(`${root}/`);
}

/** One address for the edges of `npm start`; a deployment has its own load balancer for this. */
export async function startFront(port: number, targets: Targets): Promise<Front> {
	const agent = new Agent({ keepAlive: true, maxSockets: 1_024 });
	const streams = new Set<ServerResponse>();
	const proxy = edgeProxy(agent, streams);
	const server = createServer((request, response) => {
		const route = routeOf(request.method ?? "GET", request.url ?? "/");
		proxy.web(request, response, { target: targets[route] }, (error) => refuse(response, route, error));
	});
	await listen(server, port);
	const { port: bound } = server.address() as AddressInfo;
	const stop = async () => {
		await close(server, streams);
		agent.destroy();
	};
	return { url: `http://${HOST}:${bound}`, stop };
}

function edgeProxy(agent: Agent, streams: Set<ServerResponse>) {
	// The client's own `connection: close` must not close our connection to the edge.
	const proxy = createProxyServer({ agent, headers: { connection: "keep-alive" } });
	proxy.on("proxyReq", (outgoing) => {
		const late = () => outgoing.destroy(new Error(`no answer within ${ANSWER_LIMIT_MS / 1000} s`));
		const timer = setTimeout(late, ANSWER_LIMIT_MS);
		for (const event of ["response", "close"]) outgoing.once(event, () => clearTimeout(timer));
	});
	proxy.on("proxyRes", (answer, _request, response) => {
		// An edge that dies in the middle of its answer must not leave the client waiting for the rest.
		answer.on("close", () => answer.complete || response.destroy());
		if (answer.headers["content-type"]?.startsWith("text/event-stream")) keepWhileOpen(streams, response);
	});
	proxy.on("econnreset", (_error, _request, response) => void response.destroy()); // the client has gone
	return proxy;
}

function keepWhileOpen(streams: Set<ServerResponse>, response: ServerResponse): void {
	streams.add(response);
	response.on("close", () => streams.delete(response));
}

function refuse(response: ServerResponse<IncomingMessage> | Socket, route: Route, error: Error): void {
	if (!("writeHead" in response) || response.headersSent || response.destroyed) {
		response.destroy();
		return;
	}
	const problem = problemOf(route, error);
	response.writeHead(503, { "Content-Type": "application/problem+json", "Retry-After": "1" });
	response.end(JSON.stringify(problem));
}

/** A creation is refused only when it reached nobody; one that broke off may have been accepted. */
function problemOf(route: Route, error: Error): object {
	const reachedNobody = (error as NodeJS.ErrnoException).code === "ECONNREFUSED";
	const code = route !== "create" ? "UNAVAILABLE" : reachedNobody ? "OVERLOADED" : "ACCEPTANCE_UNKNOWN";
	const detail = reachedNobody
		? `The ${route} process is away; nothing was done. Try again in a moment.`
		: `The ${route} process broke off (${error.message}); it is not known whether it has done its work.`;
	return { type: `/docs/errors#${code}`, title: ERRORS[code].title, status: ERRORS[code].status, code, detail };
}

function listen(server: Server, port: number): Promise<void> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	server.once("error", (error: NodeJS.ErrnoException) => {
		const taken = `Port ${port} is taken: stop what listens there, or choose another one, for example PORT=${port + 1} npm start`;
		reject(new Error(error.code === "EADDRINUSE" ? taken : `Cannot listen on ${HOST}:${port}: ${error.message}`));
	});
	server.listen(port, HOST, resolve);
	return promise;
}

async function close(server: Server, streams: Set<ServerResponse>): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	server.close(() => resolve());
	for (const stream of streams) stream.destroy();
	const timer = setTimeout(() => server.closeAllConnections(), STOP_LIMIT_MS);
	await promise;
	clearTimeout(timer);
}
