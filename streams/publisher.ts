import { headers, type JetStreamClient } from "nats";
import type { Lane } from "../contracts/alarm.ts";
import type { PackedBatch } from "../domain/alarms/batch.ts";
import { batchSubject, parkedSubject, relaySubject, streamOf } from "./lanes.ts";

/** Puts packed batches on a lane's stream; every function resolves with the server's word that it is on disk. */

export const HEADER = { epoch: "Alarm-Epoch", number: "Alarm-Number" } as const;

/** A publish that takes longer is unknown, not failed: the server may still store the message. */
export const PUBLISH_MS = 1_000;

/** A message that the server or the stream will never take, however often it comes: it is larger than they allow. */
export function isHopeless(error: unknown): boolean {
	const { code, api_error: api } = error as { code?: unknown; api_error?: { err_code?: number } };
	return code === "MAX_PAYLOAD_EXCEEDED" || api?.err_code === 10054;
}

/** The stream refused before storing (full: 10077, wrong stream: 10060). Everything else may have been stored all the same. */
const REFUSED = new Set([10077, 10060]);

/** True when the stream has refused the message, and it is nowhere. */
export function isRejected(error: unknown): boolean {
	return REFUSED.has((error as { api_error?: { err_code?: number } }).api_error?.err_code ?? 0);
}

/** The first publish of a batch. @throws also when the server calls it a duplicate: then another message has its number. */
export async function publishBatch(jetstream: JetStreamClient, batch: PackedBatch, timeoutMs: number): Promise<void> {
	const ack = await jetstream.publish(batchSubject(batch.lane), batch.payload, optionsOf(batch, timeoutMs));
	if (ack.duplicate) throw new TakenNumber(`the queue took batch ${batch.epoch}-${batch.number} for another one`);
}

/** Nothing was stored, and the number must not be used again. */
class TakenNumber extends Error {
	override readonly name = "TakenNumber";
}

/**
 * A batch out of the outbox, with the message id of its first publish: if that was stored after all, this one is dropped. The subject
 * tells how old its alarms are, which the time of this publish does not.
 */
export async function relayBatch(jetstream: JetStreamClient, batch: PackedBatch): Promise<void> {
	await jetstream.publish(relaySubject(batch.lane, batch.sinceMs), batch.payload, optionsOf(batch, PUBLISH_MS));
}

function optionsOf({ lane, epoch, number }: PackedBatch, timeoutMs: number) {
	const head = headers();
	head.set(HEADER.epoch, epoch);
	head.set(HEADER.number, String(number));
	return { msgID: `${epoch}-${number}`, headers: head, expect: { streamName: streamOf(lane) }, timeout: timeoutMs };
}

/** An empty batch, which workers ack unseen: it finds out whether the queue takes messages again, and no caller waits for it. */
export async function publishProbe(jetstream: JetStreamClient, lane: Lane): Promise<void> {
	await jetstream.publish(batchSubject(lane), new Uint8Array(), {
		expect: { streamName: streamOf(lane) },
		timeout: PUBLISH_MS,
	});
}

/**
 * Items that a shard cannot take now. Without a message id: de-duplication outlives the ack, and would drop what is parked again.
 * @throws also when the server calls it a duplicate, because then it is not there.
 */
export async function publishParked(
	jetstream: JetStreamClient,
	lane: Lane,
	shard: number,
	payload: Uint8Array,
	sinceMs: number,
): Promise<void> {
	const ack = await jetstream.publish(parkedSubject(lane, shard, sinceMs), payload, {
		expect: { streamName: streamOf(lane) },
		timeout: PUBLISH_MS,
	});
	if (ack.duplicate) throw new Error(`the ${lane} stream took a parked batch for a duplicate`);
}
