import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

/** The other end of child.ts: what a process of a run does to be asked and ended. */

/** Listens on a free port of 127.0.0.1 and says so. */
export function listen(server: Server): void {
	server.keepAliveTimeout = 60_000;
	server.listen(0, "127.0.0.1", () => ready((server.address() as AddressInfo).port));
}

/** Says that this process is ready, and ends it with its parent. */
export function ready(port = 0): void {
	for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => process.exit(0));
	process.on("disconnect", () => process.exit(0));
	process.send?.({ ready: true, port });
}

/** Answers questions, one after the other or several at once. */
export function answer<Q>(work: (question: Q) => Promise<unknown>): void {
	process.on("message", ({ id, question }: { id: number; question: Q }) => {
		work(question).then(
			(given) => process.send?.({ id, answer: given }),
			(error: unknown) => process.send?.({ id, error: error instanceof Error ? error.stack : String(error) }),
		);
	});
}
