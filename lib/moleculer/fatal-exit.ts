import type { ServiceBroker } from "moleculer";

/** Ends a process that must not go on: a server turned out to be set wrongly after the start. Stops in order, then exits with 1. */
export async function giveUp(broker: ServiceBroker, why: string): Promise<void> {
	broker.logger.fatal(`${why}. This process ends.`);
	try {
		await broker.stop();
	} finally {
		process.exit(1);
	}
}
