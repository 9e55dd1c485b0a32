import { readFile } from "node:fs/promises";
import type { BackendEnv } from "./backends.ts";
import type { RoleName } from "./roles.ts";

/** What set-up leaves behind for trying out. */
export interface Credentials {
	producerKey: string;
	opsKey: string;
	userToken: { userId: string; token: string };
}

/** `.run/ready.json`: all that somebody needs who wants to use or disturb the running system. */
export interface Ready extends Credentials {
	url: string;
	edges: { create: string; query: string; ops: string };
	/** Where `npm run cluster:add` asks for another database. */
	control: string;
	nats: string;
	natsMonitor: string;
	mongo: { service: string; archive: string; clusters: Record<string, string> };
	pids: { nats?: number; mongod: Record<string, number> } & Record<RoleName, number>;
}

export async function readCredentials(file: string): Promise<Credentials> {
	const { producerKey, opsKey, userToken } = JSON.parse(await readFile(file, "utf8")) as Credentials;
	return { producerKey, opsKey, userToken };
}

/** The addresses of the databases, in the form of the environment and by name. */
export function mongoAddresses({ MONGO_SERVICE_URIS, MONGO_ARCHIVE_URIS }: BackendEnv): Ready["mongo"] {
	const parts = [MONGO_SERVICE_URIS, MONGO_ARCHIVE_URIS].flatMap((text) => text.split(";")).filter(Boolean);
	const clusters = parts.map((part): [string, string] => {
		const at = part.indexOf("=");
		return [part.slice(0, at).trim(), part.slice(at + 1).trim()];
	});
	return { service: MONGO_SERVICE_URIS, archive: MONGO_ARCHIVE_URIS, clusters: Object.fromEntries(clusters) };
}

/** What people see when everything is up. */
export function welcome({ url, producerKey, userToken }: Ready, runDir: string, tookMs: number): string {
	return `
The alarm service is up (${(tookMs / 1000).toFixed(1)} s): ${url}

  Keys, addresses, process ids   ${runDir}/ready.json
  Logs                           ${runDir}/logs/

Send an alarm, then read the inbox:

  curl -s ${url}/v1/alarms -H 'Authorization: Bearer ${producerKey}' -H 'Content-Type: application/json' \\
    -d '{"userId":"${userToken.userId}","category":"transfer","title":"Hello","body":"My first alarm"}'

  curl -s ${url}/v1/users/${userToken.userId}/alarms -H 'Authorization: Bearer ${userToken.token}'

Many at once: npm run send -- examples/alarms.ndjson

Ctrl-C stops everything; the data stays in ${runDir}.
`;
}
