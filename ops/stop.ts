import type { ServiceBroker } from "moleculer";

/** Stops the broker. @throws with every reason when something in it did not stop well: the broker itself only logs that. */
export async function stopWell(broker: ServiceBroker): Promise<void> {
	const reasons: string[] = [];
	let isWhole = false;
	broker.localBus.on("$broker.error", ({ error }: { error?: unknown }) => {
		reasons.push(error instanceof Error ? error.message : String(error));
	});
	// The last step of a stop, left out when one before it failed.
	broker.options.stopped = () => {
		isWhole = true;
	};
	await broker.stop();
	if (!isWhole) reasons.push("a step of the broker's stop failed; its log says which");
	if (reasons.length > 0) throw new Error(`not stopped well: ${reasons.join("; ")}`);
}
