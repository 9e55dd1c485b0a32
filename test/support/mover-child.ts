import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { readConfig } from "../../config.ts";
import { archiveMonth } from "../../jobs/migrate/archive-month.ts";
import { moveShard } from "../../jobs/migrate/move-shard.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { realNowMs } from "./now.ts";

/** A mover in a process of its own, which tells each step and then waits for a word: so it can be killed or frozen between any two. */

export type Order = { shard: number; leaseMs?: number } & ({ month: string } | { to: string });

async function main(): Promise<void> {
	const order = JSON.parse(process.env.ORDER ?? "") as Order;
	const clusters = new Clusters(readConfig(process.env));
	const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
	const deps = {
		clusters,
		node: `child-${process.pid}`,
		onMap: () => undefined,
		nowMs: realNowMs,
		...(order.leaseMs !== undefined && { leaseMs: order.leaseMs }),
		pace: async () => undefined,
		onProgress: () => undefined,
		onError: (error: unknown) => console.log(`trouble ${error}`),
	};
	const begun = () =>
		"to" in order ? moveShard(deps, { run: "child", ...order }) : archiveMonth(deps, { run: "child", ...order });
	const move = async () => {
		for await (const step of begun()) {
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
