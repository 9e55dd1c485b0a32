const ONE_PRESS_MS = 1_000;

/**
 * Calls `stop` at the first signal, or when the parent is gone; `hard` at a later Ctrl-C.
 * One Ctrl-C arrives several times: from the terminal, from npm and from run.mjs.
 */
export function onStopSignal(stop: () => void, hard: () => void): void {
	let firstMs: number | undefined;
	const heard = (signal: string) => {
		if (firstMs !== undefined && signal === "SIGINT" && Date.now() - firstMs > ONE_PRESS_MS) hard();
		firstMs ??= Date.now();
		stop();
	};
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => heard(signal));
	process.on("disconnect", () => heard("disconnect"));
	// Whoever read our output may go away before we do.
	for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
}
