import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { clockTrouble } from "../domain/time/clock.ts";
import { readClock } from "../lib/clock-reading.ts";
import { addReadinessCheck } from "../lib/moleculer/readiness.ts";
import { askClock } from "../streams/preflight.ts";
import { shareClusters } from "./clusters.ts";

interface Vars {
	clockTimer: NodeJS.Timeout;
	releaseClock: () => Promise<void>;
}

const COMPARE_MS = 10_000;

/** Compares this node's clock with those of NATS and of the meta database; too far off is not ready, and logged for a node without a gateway. */
export function clock(config: Config): Partial<ServiceSchema> {
	return {
		async started(this: Service & Vars) {
			const clusters = shareClusters(this, config);
			let trouble: string | null = null;
			const asks = [
				...config.natsMonitorUrls.map((url) => () => readClock(url, () => askClock(url))),
				() => readClock("the meta database", () => clusters.value.meta.askClock()),
			];
			const compare = async () => {
				const readings = await Promise.all(asks.map((ask) => ask().catch(() => null)));
				const found = clockTrouble(readings.filter((reading) => reading !== null));
				if (found !== null && trouble === null) this.logger.warn(found);
				trouble = found;
			};
			addReadinessCheck(this.broker, "clock", () => trouble);
			this.releaseClock = clusters.release;
			this.clockTimer = setInterval(() => void compare(), COMPARE_MS).unref();
			void compare();
		},
		async stopped(this: Service & Vars) {
			clearInterval(this.clockTimer);
			await this.releaseClock?.();
		},
	} as unknown as Partial<ServiceSchema>;
}
