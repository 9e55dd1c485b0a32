import { readConfig } from "../config.ts";
import { makeBroker } from "./broker.ts";
import { stopWell } from "./stop.ts";

/** One service process: the services that SERVICES names, until it is told to stop. Exit code 0 only after a clean stop. */

const STOP_MS = 25_000;

async function serve(): Promise<void> {
	const broker = makeBroker(readConfig(process.env));
	let isStopping = false;
	const stop = () => {
		if (isStopping) return;
		isStopping = true;
		// The bus says goodbye to its server, and would wait for ever for one that is frozen.
		setTimeout(() => fail(new Error(`the services did not stop within ${STOP_MS / 1_000} s`)), STOP_MS).unref();
		stopWell(broker).then(() => process.exit(0), fail);
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
