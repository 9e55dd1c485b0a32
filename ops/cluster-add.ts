import type { ClusterAddition, ClusterList } from "../contracts/clusters.ts";
import { additionText } from "./cluster-text.ts";
import { readLocal } from "./local.ts";

// `npm run cluster:add`: starts another real mongod beside those of the running `npm start`, and makes it part of the system.

const NOBODY =
	"No npm start runs here. Start it first; a database of your own is added by POST /v1/ops/clusters (docs/clusters.md).";

interface Start {
	url: string;
	control: string;
	opsKey: string;
}

async function main(): Promise<string> {
	const { url, control, opsKey } = readLocal();
	if (url === undefined || control === undefined || opsKey === undefined) throw new Error(NOBODY);
	const start = { url, control, opsKey };
	const list = await ask<ClusterList>(start, "GET", `${url}/v1/ops/clusters`);
	const name = nextName(list.clusters.map((cluster) => cluster.name));
	const { uri } = await ask<{ uri: string }>(start, "POST", `${control}/databases`, { name });
	console.log(`A mongod runs: ${uri}`);
	const addition = await ask<ClusterAddition>(start, "POST", `${url}/v1/ops/clusters`, { name, uri });
	return `${additionText(addition)}
It is stopped and started with the others. What each cluster holds: npm run repl, then "cluster list".
Next: npm run repl, then "shard rebalance".`;
}

/** The first that is free. */
function nextName(names: string[]): string {
	for (let number = 0; ; number++) if (!names.includes(`c${number}`)) return `c${number}`;
}

async function ask<T>({ opsKey }: Start, method: string, url: string, body?: object): Promise<T> {
	const headers = { authorization: `Bearer ${opsKey}`, "content-type": "application/json" };
	const reply = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) }).catch(() => {
		throw new Error(`${new URL(url).origin} does not answer. ${NOBODY}`);
	});
	const answer = (await reply.json()) as T & { code?: string; detail?: string };
	if (reply.ok) return answer;
	throw new Error(`${method} ${new URL(url).pathname} answered ${reply.status} ${answer.code ?? ""}: ${answer.detail}`);
}

try {
	console.log(await main());
} catch (error) {
	console.error(error instanceof Error ? error.message : error);
	process.exitCode = 1;
}
// run.mjs keeps a channel open that would keep us alive. What stands in the pipe goes out first.
process.stdout.write("", () => process.exit());
