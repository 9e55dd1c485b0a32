import { readFile } from "node:fs/promises";
import type { NewAlarm } from "../../contracts/alarm.ts";
import { type Marked, type Sent, send } from "./oracle.ts";
import type { Rest } from "./rest.ts";

/** A load of sample alarms through several edges at once. */
export interface Load {
	/** Marks the alarms of this load. */
	name: string;
	count: number;
	/** The alarms are for these, in turn. */
	userIds: string[];
	/** The edges, in turn. */
	producers: Rest[];
	/** Called with each reply and how many there are by now; the sender waits for it. */
	onReply?: (count: number) => Promise<unknown> | undefined;
}

/** `producer` is the place of the edge in the load's list. */
export type LoadSent = Sent & { producer: number };

const SENDERS = 32;

/** Sends every alarm once, whatever the answers are. */
export async function runLoad({ name, count, userIds, producers, onReply }: Load): Promise<LoadSent[]> {
	const samples = await readSamples();
	const sent: LoadSent[] = [];
	let next = 0;
	const sender = async () => {
		for (let at = next++; at < count; at = next++) {
			const alarm = marked(
				samples[at % samples.length] as NewAlarm,
				`${name}-${at}`,
				userIds[at % userIds.length] ?? "",
			);
			const producer = at % producers.length;
			sent.push({ ...(await send(producers[producer] as Rest, alarm)), producer });
			await onReply?.(sent.length);
		}
	};
	await Promise.all(Array.from({ length: SENDERS }, sender));
	return sent;
}

/** A sample for `userId` that can be told from all others, without the sample's own key. */
export function marked({ idempotencyKey: _key, ...sample }: NewAlarm, mark: string, userId: string): Marked {
	return { ...sample, userId, data: { ...sample.data, mark } };
}

export async function readSamples(): Promise<NewAlarm[]> {
	const text = await readFile("examples/alarms.ndjson", "utf8");
	return text
		.split("\n")
		.filter(Boolean)
		.map((line) => JSON.parse(line) as NewAlarm);
}
