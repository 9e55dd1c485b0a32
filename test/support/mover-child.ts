import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { readConfig } from "../../config.ts";
import { archiveMonth } from "../../stores/archive-month.ts";
import { Clusters } from "../../stores/clusters.ts";

/** A mover in a process of its own, which tells each step and then waits for a word: so it can be killed or frozen between any two. */

interface Order {
	shard: number;
	month: string;
	leaseMs?: number;
}

async function main(): Promise<void> {
	const { shard, month, leaseMs } = JSON.parse(process.env.ORDER ?? "") as Order;
	const clusters = new Clusters(readConfig(process.env));
	const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
	const deps = {
		clusters,
		node: `child-${process.pid}`,
		onMap: () => undefined,
		nowMs: Date.now,
		...(leaseMs !== undefined && { leaseMs }),
		pace: async () => undefined,
		onProgress: () => undefined,
		onError: (error: unknown) => console.log(`trouble ${error}`),
	};
	const move = async () => {
		for await (const step of archiveMonth(deps, { run: "child", shard, month })) {
			console.log(`step ${step}`);
			await words.next();
		}
	};
	// Another's lease runs out some time.
	const patiently = async (): Promise<void> =>
		move().catch((error: Error) => (error.name === "ShardBusy" ? sleep(50).then(patiently) : Promise.reject(error)));
	await patiently().then(
		() => console.log("end done"),
		(error: Error) => console.log(`end ${error.name}`),
	);
	await clusters.close();
	process.exit(0);
}

void main();
