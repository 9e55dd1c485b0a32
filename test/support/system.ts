import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ServiceBroker } from "moleculer";
import type { Config } from "../../config.ts";
import { monthOf } from "../../domain/time/periods.ts";
import { makeBroker } from "../../ops/broker.ts";
import { customerToken, type LocalCredentials } from "../../ops/credentials.ts";
import { setUp } from "../../ops/system.ts";
import { Clusters } from "../../stores/mongo/clusters.ts";
import { mapSince } from "./months.ts";
import { configOf, startServers, type TestServers } from "./servers.ts";

/** A whole system on real servers, its services in brokers of this process. */
export interface TestSystem {
	servers: TestServers;
	config: Config;
	keys: LocalCredentials;
	/** Starts services in a broker of their own; stopped with the system. */
	run(services: string, more?: Record<string, string>): Promise<ServiceBroker>;
	tokenOf(userId: string): Promise<string>;
	stop(): Promise<void>;
}

/** `names` are its clusters; `since` is when it was first set up, so that months of before today are there. */
export async function startSystem(
	more: Record<string, string> = {},
	{ names, outside, since }: { names?: string[]; outside?: string[]; since?: Date } = {},
): Promise<TestSystem> {
	const servers = await startServers(names, outside);
	const config = configOf(servers, more);
	if (since !== undefined) await setUpMapAt(config, since);
	const file = join(servers.dir, "credentials.json");
	await setUp(config, file);
	const keys = JSON.parse(await readFile(file, "utf8")) as LocalCredentials;
	const brokers: ServiceBroker[] = [];
	const run = async (services: string, own: Record<string, string> = {}) => {
		const nodeId = `test-${brokers.length}-${process.pid}`;
		const broker = makeBroker(configOf(servers, { ...more, NODE_ID: nodeId, SERVICES: services, ...own }));
		brokers.push(broker);
		await broker.start().catch(async (error: unknown) => {
			// What had begun before the start was refused.
			await broker.stop();
			throw error;
		});
		return broker;
	};
	const stop = async () => {
		for (const broker of brokers.reverse()) await broker.stop();
		await servers.stop();
	};
	return { servers, config, keys, run, stop, tokenOf: (userId) => customerToken(keys.signingKey, userId) };
}

async function setUpMapAt(config: Config, since: Date): Promise<void> {
	const clusters = new Clusters(config);
	await mapSince(clusters, monthOf(since.getTime()), config.logicalShards);
	await clusters.close();
}

/** Address of the gateway that runs in `broker`. */
export function urlOf(broker: ServiceBroker): string {
	const gateway = broker.getLocalService("gateway") as unknown as { server: { address(): { port: number } } };
	return `http://127.0.0.1:${gateway.server.address().port}`;
}
