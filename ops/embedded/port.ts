import { connect, createServer } from "node:net";

const HOST = "127.0.0.1";
// Below the range from which systems take the ports of outgoing connections: a server that is away for a moment must find its port again.
const FIRST = 20_000;
const LAST = 32_000;
const given = new Set<number>();

/** A port that nobody listens on, and that this process has not handed out before. */
export async function freePort(): Promise<number> {
	for (;;) {
		const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
		if (given.has(port) || !(await isFree(port))) continue;
		given.add(port);
		return port;
	}
}

/** Whether nobody listens on this port of 127.0.0.1. */
export function isFree(port: number): Promise<boolean> {
	const { promise, resolve } = Promise.withResolvers<boolean>();
	const probe = createServer();
	probe.on("error", () => resolve(false));
	probe.listen({ port, host: HOST, exclusive: true }, () => probe.close(() => resolve(true)));
	return promise;
}

/** Whether somebody listens on this port of 127.0.0.1. */
export function isListening(port: number): Promise<boolean> {
	const { promise, resolve } = Promise.withResolvers<boolean>();
	const socket = connect({ port, host: HOST });
	socket.on("connect", () => resolve(true));
	socket.on("error", () => resolve(false));
	return promise.finally(() => socket.destroy());
}
