import { connect } from "nats";
import { batchSubject } from "../../streams/lanes.ts";
import { answer, ready } from "../answering.ts";
import { type PackedBatch, packedBatches } from "../packed.ts";

// Publishes packed batches with the client directly, so many at once, as fast as the server acks them.

const [natsUrl = ""] = process.argv.slice(2);
const ALARMS = 20_000;

const jetstream = (await connect({ servers: natsUrl })).jetstream();
const subject = batchSubject("bulk");
const bySize = new Map<number, PackedBatch[]>();

function batchesOf(perRequest: number): PackedBatch[] {
	const kept = bySize.get(perRequest) ?? packedBatches(ALARMS, "raw", perRequest);
	bySize.set(perRequest, kept);
	return kept;
}

interface Publishing {
	durationMs: number;
	inFlight: number;
	/** Alarms that come together: 1,000 are cut into messages as a bulk request is, 50 stay one message. */
	perRequest: number;
}

/** Alarms per second over `durationMs`. */
async function publishFor({ durationMs, inFlight, perRequest }: Publishing): Promise<number> {
	const batches = batchesOf(perRequest);
	const startMs = performance.now();
	let alarms = 0;
	let next = 0;
	const hand = async () => {
		while (performance.now() - startMs < durationMs) {
			const batch = batches[next++ % batches.length];
			if (batch === undefined) return;
			await jetstream.publish(subject, batch.payload);
			alarms += batch.alarms;
		}
	};
	await Promise.all(Array.from({ length: inFlight }, hand));
	return (alarms * 1_000) / (performance.now() - startMs);
}

answer(publishFor);
ready();
