import { connect, headers, type NatsConnection } from "nats";
import type { Lane } from "../../contracts/alarm.ts";
import { natsAddress } from "../../streams/address.ts";
import { backlogOf } from "../../streams/backlog.ts";
import { batchSubject, streamOf, WORKER } from "../../streams/lanes.ts";
import { HEADER } from "../../streams/publisher.ts";

/** Puts batches on a lane by hand, and looks at what is left of it. */
export class TestQueue {
	readonly #connection: NatsConnection;
	#number = 0;

	private constructor(connection: NatsConnection) {
		this.#connection = connection;
	}

	static async open(natsUrl: string): Promise<TestQueue> {
		return new TestQueue(await connect(natsAddress(natsUrl)));
	}

	/** `msgID`: by which the server tells that it has had this message; without it every one is new. */
	async put(lane: Lane, payload: string, number = ++this.#number, msgID?: string): Promise<void> {
		const head = headers();
		head.set(HEADER.epoch, "test");
		head.set(HEADER.number, String(number));
		await this.#connection.jetstream().publish(batchSubject(lane), payload, {
			headers: head,
			...(msgID !== undefined && { msgID }),
		});
	}

	/** Batches that are not acked yet, of all lanes. */
	async left(): Promise<number> {
		const manager = await this.#connection.jetstreamManager();
		const lanes: Lane[] = ["realtime", "bulk"];
		const infos = await Promise.all(lanes.map((lane) => manager.streams.info(streamOf(lane))));
		return infos.reduce((sum, { state }) => sum + state.messages, 0);
	}

	/** Messages that are not acked yet, of all lanes, by their subject; empty when there is none. */
	async bySubject(): Promise<Record<string, number>> {
		const manager = await this.#connection.jetstreamManager();
		const ask = (lane: Lane) => manager.streams.info(streamOf(lane), { subjects_filter: ">" });
		const infos = await Promise.all([ask("realtime"), ask("bulk")]);
		return Object.assign({}, ...infos.map(({ state }) => state.subjects ?? {}));
	}

	/** The name of the server that leads a lane's stream, where there are several. */
	async leaderOf(lane: Lane): Promise<string> {
		const manager = await this.#connection.jetstreamManager();
		return (await manager.streams.info(streamOf(lane))).cluster?.leader ?? "";
	}

	/** Payloads of all that a lane's stream holds. */
	async texts(lane: Lane): Promise<string[]> {
		const manager = await this.#connection.jetstreamManager();
		const { state } = await manager.streams.info(streamOf(lane), { deleted_details: true });
		const gone = new Set(state.deleted ?? []);
		const texts: string[] = [];
		for (let seq = state.first_seq; seq <= state.last_seq; seq++)
			if (!gone.has(seq)) texts.push((await manager.streams.getMessage(streamOf(lane), { seq })).string());
		return texts;
	}

	/** Messages that are parked, by shard. */
	async parked(lane: Lane): Promise<Map<number, number>> {
		return (await backlogOf(await this.#connection.jetstreamManager(), lane)).parked;
	}

	/** Batches that were handed to a worker and not settled by it. */
	async inHand(lane: Lane): Promise<number> {
		const manager = await this.#connection.jetstreamManager();
		return (await manager.consumers.info(streamOf(lane), WORKER)).num_ack_pending;
	}

	/** True while a batch is in hand for the second time or more. */
	async hasComeAgain(lane: Lane): Promise<boolean> {
		const manager = await this.#connection.jetstreamManager();
		return (await manager.consumers.info(streamOf(lane), WORKER)).num_redelivered > 0;
	}

	async deleteConsumer(lane: Lane): Promise<void> {
		const manager = await this.#connection.jetstreamManager();
		await manager.consumers.delete(streamOf(lane), WORKER);
	}

	close(): Promise<void> {
		return this.#connection.close();
	}
}
