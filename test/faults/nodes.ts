import { threeServers } from "../support/fault-queue.ts";
import type { NodeId } from "../support/fault-system.ts";
import type { Scenario } from "../support/scenario.ts";

/** Many nodes, joined only by NATS, of which some come and go. */

const TWO_OF_EACH = ["create", "query", "consume", "router"].flatMap((kind): NodeId[] => [
	`${kind}-1` as NodeId,
	`${kind}-2` as NodeId,
]);
const MORE_WORKERS: NodeId[] = ["consume-3", "consume-4"];

const WORKERS_SCALED: Scenario = {
	name: "two of every role on three nats-servers: workers are added and taken away under load, and nothing is lost",
	done: "two processes of every role, three nats-servers with three replicas; two more workers under load; then one worker after the other told to stop until one is left, one nats-server kill -9 meanwhile; workers back",
	system: { nodes: TWO_OF_EACH, queue: threeServers, env: { STREAM_REPLICAS: "3" } },
	load: { perSecond: 60 },
	async inject({ system, load }) {
		await load.acceptedMore(100);
		for (const worker of MORE_WORKERS) await system.startNode(worker);
		await load.acceptedMore(200);
		expect(await system.node("consume-1").end("SIGTERM")).toBe("exit code 0");
		expect(await system.node("consume-3").end("SIGTERM")).toBe("exit code 0");
		await load.acceptedMore(100);
		await system.nats.kill();
		expect(await system.node("consume-4").end("SIGTERM")).toBe("exit code 0");
		await load.acceptedMore(200);
	},
};

export const NODE_SCENARIOS: Scenario[] = [WORKERS_SCALED];
