import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Service, ServiceSchema } from "moleculer";
import { Acceptance, type Disks } from "../accept/acceptance.ts";
import { GroupCommit } from "../accept/group-commit.ts";
import { type RelayEffects, relayAll } from "../accept/outbox-relay.ts";
import type { Config } from "../config.ts";
import { LANES, type Lane } from "../contracts/alarm.ts";
import { BatchNumbers } from "../domain/alarms/batch-numbers.ts";
import type { Target } from "../domain/routing/routing.ts";
import { addReadinessCheck } from "../lib/moleculer/readiness.ts";
import { writeAccount } from "../stores/alarms/ledger.ts";
import { claimRows, Outbox, type OutboxRow, removeRows } from "../stores/alarms/outbox.ts";
import { releaseLease, takeLease } from "../stores/mongo/lease.ts";
import { isHopeless, isRejected, publishBatch, publishProbe, relayBatch } from "../streams/publisher.ts";
import { type HasStreams, jetstream } from "./jetstream.mixin.ts";
import { type HasRouting, routing } from "./routing.mixin.ts";

/** Where a creating service puts alarms: one packer per lane, in front of the queue and the outbox. */
export interface HasAcceptance {
	packers: Record<Lane, GroupCommit>;
}

interface Vars extends HasAcceptance, HasStreams, HasRouting {
	numbers: BatchNumbers;
	acceptances: Record<Lane, Acceptance>;
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
const GOODBYE_MS = 2_000;

/** The queue, the outbox behind it, and the relay from the second to the first. */
export function acceptance(config: Config): Partial<ServiceSchema> {
	return {
		mixins: [routing(config), jetstream(config, "publish")],
		async started(this: Creator) {
			this.numbers = new BatchNumbers(randomBytes(9).toString("base64url"));
			this.outbox = new Outbox(this.clusters, this.routing, config.outboxMaxBytes);
			this.acceptances = ofLanes((lane) => new Acceptance(lane, this.numbers, () => disksOf(this)));
			this.packers = ofLanes(
				(lane) => new GroupCommit((items, sinceMs) => this.acceptances[lane].accept(items, sinceMs)),
			);
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

function every(intervalMs: number, work: () => Promise<void>): NodeJS.Timeout {
	return setInterval(() => void work(), intervalMs).unref();
}

function ofLanes<T>(make: (lane: Lane) => T): Record<Lane, T> {
	return Object.fromEntries(LANES.map((lane) => [lane, make(lane)])) as Record<Lane, T>;
}

function disksOf({ streams, outbox }: Creator): Disks {
	const { jetstream: queue } = streams;
	return {
		publish: queue && ((batch, timeoutMs) => publishBatch(queue, batch, timeoutMs)),
		save: (batch) => outbox.save(batch),
		isRejected,
	};
}

/** An edge stays ready while the outbox takes what the queue does not, and says so. */
function readinessOf({ streams, acceptances, outbox }: Creator) {
	const trouble = streams.trouble ?? acceptances.realtime.trouble ?? acceptances.bulk.trouble;
	if (trouble === null) return null;
	return outbox.isUsable ? { degraded: `${trouble}; alarms go to the outbox` } : trouble;
}

async function probe({ streams, acceptances }: Creator): Promise<void> {
	const { jetstream: queue } = streams;
	if (queue === null) return;
	await Promise.all(LANES.map((lane) => acceptances[lane].probe(() => publishProbe(queue, lane))));
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
	for (const target of filled) await Promise.all(LANES.map((lane) => relayLane(service, target, lane)));
}

/** Each lane by itself: realtime does not wait for a bulk stream that is full. */
async function relayLane(service: Creator, target: Target, lane: Lane): Promise<void> {
	if (service.streams.jetstream === null || service.acceptances[lane].trouble !== null) return;
	const what = `${lane} batches of the outbox of ${target.cluster}`;
	try {
		const relayed = await relayAll(relayDeeds(service, target, lane));
		if (relayed > 0) service.logger.info(`${relayed} ${what} are on the queue now`);
	} catch (error) {
		service.logger.warn(`${what} are relayed later: ${error}`);
	}
}

function relayDeeds(service: Creator, target: Target, lane: Lane): RelayEffects<OutboxRow> {
	const { clusters, streams, numbers } = service;
	const cluster = clusters.at(target.cluster);
	const lock = `relay of ${lane}`;
	return {
		lease: () => takeLease(cluster, lock, numbers.epoch, LEASE_MS),
		release: () => releaseLease(cluster, lock, numbers.epoch),
		claim: (token, after) => claimRows(clusters, target, { lane, token, after, limit: RELAY_ROWS }),
		publish: async (row) => {
			if (streams.jetstream === null) throw new Error("the queue is away");
			await relayBatch(streams.jetstream, row);
		},
		isHopeless: (error) => {
			if (isHopeless(error)) service.logger.error(`a batch of the outbox can never be relayed: ${error}`);
			return isHopeless(error);
		},
		remove: (token, ids) => removeRows(clusters, target, token, ids),
	};
}

/** What was answered so far, for the reconciliation. Cumulative: one that could not be written is made good by the next. */
async function account({ clusters, routing: cached, numbers, logger }: Creator): Promise<void> {
	const answered = numbers.account();
	if (!cached.isLoaded || answered.settled === 0) return;
	await writeAccount(clusters, cached.current, answered, Date.now()).catch((error: unknown) =>
		logger.debug(`the account of batches was not written: ${error}`),
	);
}
