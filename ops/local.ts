import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What a running `npm start` has left for tools beside it: its addresses and the operator's key. */
interface Local {
	url: string;
	/** Where the start itself is asked for another database. */
	control: string;
	nats: string;
	natsMonitor: string;
	opsKey: string;
	mongo: { service: string; archive: string };
}

/** Empty when nothing was started here: then the environment must say everything. */
export function readLocal(): Partial<Local> {
	try {
		return JSON.parse(readFileSync(join(process.env.ALARM_RUN_DIR ?? ".run", "ready.json"), "utf8")) as Local;
	} catch {
		return {};
	}
}

/** The environment of a tool: the local start's addresses where it names no others. */
export function environmentOf({ nats, natsMonitor, mongo }: Partial<Local>): NodeJS.ProcessEnv {
	const local = {
		...(nats && { NATS_URL: nats }),
		...(natsMonitor && { NATS_MONITOR_URLS: natsMonitor }),
		...(mongo && { MONGO_SERVICE_URIS: mongo.service, MONGO_ARCHIVE_URIS: mongo.archive }),
	};
	return { LOG_LEVEL: "warn", ...local, ...process.env };
}
