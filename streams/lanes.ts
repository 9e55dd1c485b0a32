import {
	AckPolicy,
	type ConsumerConfig,
	DiscardPolicy,
	type JetStreamManager,
	nanos,
	RetentionPolicy,
	StorageType,
	type StreamConfig,
} from "nats";
import type { Lane } from "../contracts/alarm.ts";

/** One stream and one durable consumer per lane, so that a flood of one can neither fill the queue of, nor delay, the other. */

export const WORKER = "worker";

export function streamOf(lane: Lane): string {
	return `ALARM_${lane.toUpperCase()}`;
}

/** Subject of the packed batches of a lane, as they are published first. */
export function batchSubject(lane: Lane): string {
	return `alarm.${lane}.batch`;
}

/**
 * What is published later than its acceptance (out of the outbox, or parked) tells in its subject the minute of its oldest alarm: the
 * low-watermark is then read from the list of subjects, and no message has to be opened.
 */
export function relaySubject(lane: Lane, sinceMs: number): string {
	return `alarm.${lane}.relay.${minuteOf(sinceMs)}`;
}

/** Subject of what a shard could not take; drained by a consumer of that shard's own. */
export function parkedSubject(lane: Lane, shard: number, sinceMs: number): string {
	return `alarm.${lane}.parked.${shard}.${minuteOf(sinceMs)}`;
}

/** Durable consumer of a shard's parked messages. */
export function drainerOf(shard: number): string {
	return `parked-${shard}`;
}

const MINUTE_MS = 60_000;

function minuteOf(timeMs: number): number {
	return Math.floor(timeMs / MINUTE_MS);
}

/** First moment of the minute that a subject names, or null for one that names none. */
export function sinceOfSubject(subject: string): number | null {
	const [, minute] = /\.(?:relay|parked\.\d+)\.(\d+)$/.exec(subject) ?? [];
	return minute === undefined ? null : Number(minute) * MINUTE_MS;
}

/** The shard whose parked message this is, or null for another subject. */
export function shardOfSubject(subject: string): number | null {
	const [, shard] = /\.parked\.(\d+)\.\d+$/.exec(subject) ?? [];
	return shard === undefined ? null : Number(shard);
}

export interface LaneSize {
	maxBytes: number;
	replicas: number;
	/** Most batches in the hands of all workers together. */
	maxAckPending: number;
	/** A batch whose worker is silent for so long comes again. */
	ackWaitMs: number;
}

function streamConfig(lane: Lane, { maxBytes, replicas }: LaneSize): Partial<StreamConfig> & { name: string } {
	return {
		name: streamOf(lane),
		subjects: [`alarm.${lane}.>`],
		storage: StorageType.File,
		retention: RetentionPolicy.Workqueue,
		// Full means a loud refusal. Discarding the old, or ageing it out, would delete unprocessed work and say nothing.
		discard: DiscardPolicy.New,
		max_bytes: maxBytes,
		max_age: 0,
		duplicate_window: nanos(120_000),
		num_replicas: replicas,
	};
}

function consumerConfig(
	name: string,
	subjects: string[],
	{ maxAckPending, ackWaitMs }: LaneSize,
): Partial<ConsumerConfig> {
	return {
		durable_name: name,
		filter_subjects: subjects,
		ack_policy: AckPolicy.Explicit,
		ack_wait: nanos(ackWaitMs),
		// Unlimited: a limit would strand messages, and an outage is no attempt.
		max_deliver: -1,
		max_ack_pending: maxAckPending,
	};
}

/** The sizes of the configuration, for both lanes. */
export function laneSize(config: {
	streamMaxBytes: number;
	streamReplicas: number;
	workerPrefetch: number;
	ackWaitMs: number;
}): LaneSize {
	return {
		maxBytes: config.streamMaxBytes,
		replicas: config.streamReplicas,
		// Batches of a shard that is down wait here, too: many, or they would hold up the others.
		maxAckPending: Math.max(4_096, 16 * config.workerPrefetch),
		ackWaitMs: config.ackWaitMs,
	};
}

/** Makes the lane's stream and the workers' consumer, or brings them to these settings. */
export async function ensureLane(jsm: JetStreamManager, lane: Lane, size: LaneSize): Promise<void> {
	const config = streamConfig(lane, size);
	if (await exists(jsm.streams.info(config.name))) await jsm.streams.update(config.name, config);
	else await jsm.streams.add(config);
	const subjects = [batchSubject(lane), `alarm.${lane}.relay.*`];
	await ensureConsumer(jsm, config.name, consumerConfig(WORKER, subjects, size));
}

/** Makes the consumer of what is parked for a shard. */
export async function ensureDrainer(jsm: JetStreamManager, lane: Lane, shard: number, size: LaneSize): Promise<void> {
	const subjects = [`alarm.${lane}.parked.${shard}.*`];
	await ensureConsumer(jsm, streamOf(lane), consumerConfig(drainerOf(shard), subjects, size));
}

async function ensureConsumer(jsm: JetStreamManager, stream: string, config: Partial<ConsumerConfig>): Promise<void> {
	const name = config.durable_name ?? "";
	if (await exists(jsm.consumers.info(stream, name))) await jsm.consumers.update(stream, name, config);
	else await jsm.consumers.add(stream, config);
}

async function exists(info: Promise<unknown>): Promise<boolean> {
	try {
		await info;
		return true;
	} catch (error) {
		if ((error as { api_error?: { code?: number } }).api_error?.code === 404) return false;
		throw error;
	}
}

/** A full batch and its headers. */
export const LEAST_MESSAGE_BYTES = 640 * 1024;

/** Faults of a lane's stream on which accepted alarms could be lost; empty when it is sound. */
export function laneFaults(config: Partial<StreamConfig>): string[] {
	const faults: string[] = [];
	const must = (sound: boolean, setting: string, value: unknown, right: string) => {
		if (!sound) faults.push(`stream ${config.name}: ${setting} is ${value}; it must be ${right}`);
	};
	must(config.storage === StorageType.File, "storage", config.storage, "file");
	must(config.retention === RetentionPolicy.Workqueue, "retention", config.retention, "workqueue");
	must(config.discard === DiscardPolicy.New, "discard", config.discard, "new");
	must(!config.max_age, "max_age", config.max_age, "0");
	// A limit per subject drops the old in silence, whatever `discard` says.
	const perSubject = config.max_msgs_per_subject ?? -1;
	must(perSubject <= 0, "max_msgs_per_subject", perSubject, "-1");
	const size = config.max_msg_size ?? -1;
	must(size < 0 || size >= LEAST_MESSAGE_BYTES, "max_msg_size", size, `-1 or at least ${LEAST_MESSAGE_BYTES}`);
	const persistence = (config as { persist_mode?: string }).persist_mode;
	must(persistence !== "async", "persist_mode", persistence, "default");
	return faults;
}
