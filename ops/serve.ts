import { readConfig } from "../config.ts";
import { makeBroker } from "./broker.ts";

/** One service process: the services that SERVICES names, until it is told to stop. Exit code 0 only after a clean stop. */

async function serve(): Promise<void> {
	const broker = makeBroker(readConfig(process.env));
	let isStopping = false;
	const stop = () => {
		if (isStopping) return;
		isStopping = true;
		broker.stop().then(() => process.exit(0), fail);
	};
	for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, stop);
	// The process that started this one is gone: nobody would stop it any more.
	process.on("disconnect", stop);
	await broker.start();
	process.send?.({ ready: true });
}

function fail(error: unknown): never {
	console.error(error instanceof Error ? error.message : error);
	process.exit(1);
}

serve().catch(fail);
