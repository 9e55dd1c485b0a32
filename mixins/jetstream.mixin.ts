import { setTimeout as sleep } from "node:timers/promises";
import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { giveUp } from "../lib/moleculer/fatal-exit.ts";
import { addReadinessCheck } from "../lib/moleculer/readiness.ts";
import { StreamConnection } from "../streams/connection.ts";
import { inspector } from "../streams/preflight.ts";

export interface HasStreams {
	streams: StreamConnection;
}

/** A server that is up is inspected within that; one that is away is inspected whenever it comes. */
const FIRST_LOOK_MS = 1_500;

/** A connection of this service's own to JetStream. Refuses the start when the server answers with a setting that could lose alarms. */
export function jetstream(config: Config, purpose: string): Partial<ServiceSchema> {
	return {
		async started(this: Service & HasStreams) {
			let isStarting = true;
			let wrong: string | null = null;
			const streams = new StreamConnection({
				natsUrl: config.natsUrl,
				purpose,
				inspect: inspector(config.natsMonitorUrls),
				onWrong: (why) => {
					wrong = why;
					if (!isStarting) void giveUp(this.broker, why);
				},
				onError: (error) => this.logger.warn(`JetStream (${purpose}): ${error}`),
			});
			this.streams = streams;
			addReadinessCheck(this.broker, `queue (${purpose})`, () => streams.trouble);
			await Promise.race([streams.sound(), sleep(FIRST_LOOK_MS, undefined, { ref: false })]);
			isStarting = false;
			if (wrong === null) return;
			await streams.close();
			throw new Error(wrong);
		},
		async stopped(this: Service & HasStreams) {
			await this.streams?.close();
		},
	} as unknown as Partial<ServiceSchema>;
}
