import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { LANES, type Lane } from "../contracts/alarm.ts";
import { BatchNumbers } from "../domain/batch-numbers.ts";
import type { Target } from "../domain/routing.ts";
import { Acceptance, type Disks } from "../lib/acceptance.ts";
import { GroupCommit } from "../lib/group-commit.ts";
import { addReadinessCheck } from "../lib/readiness.ts";
import { type RelayDeeds, relayAll } from "../lib/relay.ts";
import { releaseLease, takeLease } from "../stores/lease.ts";
import { writeAccount } from "../stores/ledger.ts";
import { claimRows, Outbox, type OutboxRow, removeRows } from "../stores/outbox.ts";
import { isRefused, publishBatch, publishProbe, relayBatch } from "../streams/publisher.ts";
import { type HasStreams, jetstream } from "./jetstream.mixin.ts";
import { type HasRouting, routing } from "./routing.mixin.ts";

/** Where a creating service puts alarms: one packer per lane, in front of the queue and the outbox. */
export interface HasAcceptance {
	packers: Record<Lane, GroupCommit>;
}

interface Vars extends HasAcceptance, HasStreams, HasRouting {
	numbers: BatchNumbers;
	acceptance: Acceptance;
	outbox: Outbox;
	acceptanceTimers: NodeJS.Timeout[];
	relaying: Promise<void> | null;
}
type Creator = Service & Vars;

const PROBE_MS = 250;
const RELAY_MS = 500;
const ACCOUNT_MS = 2_000;
const LEASE_MS = 10_000;
const RELAY_ROWS = 64;
const DUTY = "outbox relay";
const GOODBYE_MS = 2_000;

/** The queue, the outbox behind it, and the relay from the second to the first. */
export function acceptance(config: Config): Partial<ServiceSchema> {
	return {
		mixins: [routing(config), jetstream(config, "publish")],
		async started(this: Creator) {
			this.numbers = new BatchNumbers(randomBytes(9).toString("base64url"));
			this.outbox = new Outbox(this.clusters, this.routing, config.outboxMaxBytes);
			this.acceptance = new Acceptance(this.numbers, () => disksOf(this));
			this.packers = packersOf(this.acceptance);
			addReadinessCheck(this.broker, "queue (publish)", () => readinessOf(this));
			this.acceptanceTimers = [
				every(PROBE_MS, () => probe(this)),
				every(RELAY_MS, () => relayOnce(this)),
				every(ACCOUNT_MS, () => account(this)),
			];
		},
		async stopped(this: Creator) {
			for (const timer of this.acceptanceTimers ?? []) clearInterval(timer);
			// In this order within the mixin: the connections are closed after it.
			await Promise.race([this.relaying, sleep(GOODBYE_MS, undefined, { ref: false })]);
			if (this.numbers !== undefined) await Promise.race([account(this), sleep(GOODBYE_MS, undefined, { ref: false })]);
		},
	} as unknown as Partial<ServiceSchema>;
}

function every(intervalMs: number, deed: () => Promise<void>): NodeJS.Timeout {
	return setInterval(() => void deed(), intervalMs).unref();
}

function packersOf(accepting: Acceptance): Record<Lane, GroupCommit> {
	const packers = LANES.map((lane) => [
		lane,
		new GroupCommit((items, sinceMs) => accepting.accept(lane, items, sinceMs)),
	]);
	return Object.fromEntries(packers) as Record<Lane, GroupCommit>;
}

function disksOf({ streams, outbox }: Creator): Disks {
	const { jetstream: queue } = streams;
	return {
		publish: queue && ((batch, timeoutMs) => publishBatch(queue, batch, timeoutMs)),
		save: (batch) => outbox.save(batch),
		isRefused,
	};
}

/** An edge stays ready while the outbox takes what the queue does not, and says so. */
function readinessOf({ streams, acceptance: accepting, outbox }: Creator) {
	const trouble = streams.trouble ?? accepting.trouble;
	if (trouble === null) return null;
	return outbox.isUsable ? { degraded: `${trouble}; alarms go to the outbox` } : trouble;
}

async function probe({ streams, acceptance: accepting }: Creator): Promise<void> {
	const { jetstream: queue } = streams;
	if (queue !== null) await accepting.probe(() => publishProbe(queue, "realtime"));
}

/** One round at a time in this process; the lease sees to the others. */
async function relayOnce(service: Creator): Promise<void> {
	service.relaying ??= relayEach(service).finally(() => {
		service.relaying = null;
	});
	await service.relaying;
}

async function relayEach(service: Creator): Promise<void> {
	const filled = await service.outbox.filled();
	if (service.streams.jetstream === null || service.acceptance.trouble !== null) return;
	for (const target of filled) await relayTarget(service, target);
}

async function relayTarget(service: Creator, target: Target): Promise<void> {
	try {
		const relayed = await relayAll(relayDeeds(service, target));
		if (relayed > 0) service.logger.info(`${relayed} batches of the outbox of ${target.cluster} are on the queue now`);
	} catch (error) {
		service.logger.warn(`the relay of the outbox of ${target.cluster} goes on later: ${error}`);
	}
}

function relayDeeds({ clusters, streams, numbers }: Creator, target: Target): RelayDeeds<OutboxRow> {
	const cluster = clusters.at(target.cluster);
	return {
		lease: () => takeLease(cluster, DUTY, numbers.epoch, LEASE_MS),
		release: () => releaseLease(cluster, DUTY, numbers.epoch),
		claim: (token) => claimRows(clusters, target, token, RELAY_ROWS),
		publish: async (row) => {
			if (streams.jetstream === null) throw new Error("the queue is away");
			await relayBatch(streams.jetstream, row);
		},
		remove: (token, ids) => removeRows(clusters, target, token, ids),
	};
}

/** What was answered so far, for the reconciliation. Cumulative: one that could not be written is made good by the next. */
async function account({ clusters, routing: held, numbers, logger }: Creator): Promise<void> {
	const answered = numbers.account();
	if (!held.isLoaded || answered.settled === 0) return;
	await writeAccount(clusters, held.current, answered, Date.now()).catch((error: unknown) =>
		logger.debug(`the account of batches was not written: ${error}`),
	);
}
