import { readFile } from "node:fs/promises";
import type { NewAlarm } from "../../contracts/alarm.ts";
import { type Marked, type Sent, send } from "./oracle.ts";
import type { Rest } from "./rest.ts";

/** A load of sample alarms through several edges at once. */
export interface Load {
	/** Marks the alarms of this load. */
	name: string;
	count: number;
	/** The alarms are for u0 … u(users - 1). */
	users: number;
	/** The edges, in turn. */
	producers: Rest[];
	/** Called with each reply and how many there are by now; the sender waits for it. */
	onReply?: (count: number) => Promise<unknown> | undefined;
}

const SENDERS = 32;

/** Sends every alarm once, whatever the answers are. */
export async function runLoad({ name, count, users, producers, onReply }: Load): Promise<Sent[]> {
	const samples = await readSamples();
	const sent: Sent[] = [];
	let next = 0;
	const sender = async () => {
		for (let at = next++; at < count; at = next++) {
			const alarm = marked(samples[at % samples.length] as NewAlarm, `${name}-${at}`, `u${at % users}`);
			sent.push(await send(producers[at % producers.length] as Rest, alarm));
			await onReply?.(sent.length);
		}
	};
	await Promise.all(Array.from({ length: SENDERS }, sender));
	return sent;
}

function marked({ idempotencyKey: _key, ...sample }: NewAlarm, mark: string, userId: string): Marked {
	return { ...sample, userId, data: { ...sample.data, mark } };
}

async function readSamples(): Promise<NewAlarm[]> {
	const text = await readFile("examples/alarms.ndjson", "utf8");
	return text
		.split("\n")
		.filter(Boolean)
		.map((line) => JSON.parse(line) as NewAlarm);
}
