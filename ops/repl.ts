import { type Middleware, ServiceBroker } from "moleculer";
import { readConfig } from "../config.ts";
import type { Meta } from "../contracts/actions.ts";
import { call } from "../lib/moleculer/service.ts";
import brokerOptions from "../moleculer.config.ts";
import { ARCHIVE } from "./archive-command.ts";
import { CLUSTER } from "./cluster-command.ts";
import { lagTable } from "./lag-table.ts";
import { environmentOf, readLocal } from "./local.ts";
import { SHARD } from "./shard-command.ts";

/**
 * Moleculer's console on the bus, as an operator: `npm run repl`, then `nodes`, `services`, `lag`, `archive status`,
 * `shard map`, `call shard.router.map`.
 * Takes the addresses and the operator's key from the local start, or from the environment and OPS_KEY.
 */

/** Every call from this node carries the operator's key, unless it brings another. */
function asOperator(auth: string | undefined): Middleware {
	return {
		name: "as-operator",
		call(next: (action: string, params: unknown, opts?: { meta?: Meta }) => Promise<unknown>) {
			return (action: string, params: unknown, opts: { meta?: Meta } = {}) =>
				next(action, params, { ...opts, meta: { ...(auth !== undefined && { auth }), ...opts.meta } });
		},
	} as unknown as Middleware;
}

const LAG = {
	command: "lag",
	description: "How late alarms are and what waits where",
	async action(broker: ServiceBroker) {
		console.log(lagTable(await call(broker, "shard.router.lag", {})));
	},
};

async function main(): Promise<void> {
	const local = readLocal();
	const config = readConfig(environmentOf(local));
	const options = brokerOptions({ ...config, metricsPort: 0, nodeId: `repl-${process.pid}` });
	const key = process.env.OPS_KEY ?? local.opsKey;
	const broker = new ServiceBroker({
		...options,
		middlewares: [...(options.middlewares ?? []), asOperator(key)],
		replOptions: { customCommands: [LAG, ARCHIVE, CLUSTER, SHARD] },
	});
	await broker.start();
	broker.repl();
}

main().catch((error: unknown) => {
	console.error(error instanceof Error ? error.message : error);
	process.exit(1);
});
