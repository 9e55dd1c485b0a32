import { setTimeout as sleep } from "node:timers/promises";
import { connect, Events, type JetStreamClient, type JetStreamManager, type NatsConnection } from "nats";
import { natsAddress } from "./address.ts";
import { LEAST_MESSAGE_BYTES } from "./lanes.ts";
import type { Inspection } from "./preflight.ts";

/** One connection to JetStream: opened in the background, kept for ever, and used only after its server has been inspected. */

const CONNECT_MS = 2_000;
const AGAIN_MS = 500;
const PING_MS = 1_000;

interface ConnectionOptions {
	natsUrl: string;
	/** Names the connection on the server: publishing and consuming have one each, so that neither delays the other. */
	purpose: string;
	inspect: (manager: JetStreamManager) => Promise<Inspection>;
	/** The server answers with a setting on which the promises do not hold. */
	onWrong: (why: string) => void;
	onError: (error: unknown) => void;
}

export class StreamConnection {
	readonly #options: ConnectionOptions;
	readonly #opening: Promise<NatsConnection>;
	readonly #sound: Promise<NatsConnection>;
	#connection: NatsConnection | null = null;
	#jetstream: JetStreamClient | null = null;
	#isSound = false;
	#isClosed = false;
	#trouble = "it has not been reached yet";

	constructor(options: ConnectionOptions) {
		this.#options = options;
		this.#opening = connect({
			...natsAddress(options.natsUrl),
			name: `alarm-service ${options.purpose}`,
			// By default the client notices a hung server after minutes, and ten failed tries close the connection for good.
			waitOnFirstConnect: true,
			maxReconnectAttempts: -1,
			// Otherwise two refused logins, as while passwords are being changed, close the connection for good.
			ignoreAuthErrorAbort: true,
			reconnectTimeWait: AGAIN_MS,
			// A server that stands still, or a half-open connection, counts as down after three to four seconds.
			pingInterval: PING_MS,
			maxPingOut: 2,
			timeout: CONNECT_MS,
			// Otherwise a stack is taken with every publish, for the case that it fails.
			noAsyncTraces: true,
		});
		this.#sound = this.#opening.then((connection) => this.#opened(connection));
		this.#sound.catch(options.onError);
	}

	/** Null while the server is away or has not been found sound. */
	get jetstream(): JetStreamClient | null {
		return this.#isSound ? this.#jetstream : null;
	}

	/** Why the queue is not usable now, or null when it is. */
	get trouble(): string | null {
		return this.#isSound ? null : this.#trouble;
	}

	/** Resolves with the connection once it is open and its server sound, whenever that is. */
	sound(): Promise<NatsConnection> {
		return this.#sound;
	}

	async manager(): Promise<JetStreamManager> {
		return (await this.#opening).jetstreamManager({ timeout: CONNECT_MS });
	}

	async close(): Promise<void> {
		this.#isClosed = true;
		this.#isSound = false;
		await this.#connection?.close();
	}

	async #opened(connection: NatsConnection): Promise<NatsConnection> {
		this.#connection = connection;
		this.#jetstream = connection.jetstream();
		if (this.#isClosed) await connection.close();
		void this.#watch(connection).catch(this.#options.onError);
		await this.#inspect();
		return connection;
	}

	async #watch(connection: NatsConnection): Promise<void> {
		for await (const { type } of connection.status()) {
			if (type === Events.Disconnect) this.#lost("the connection is lost");
			if (type === Events.Reconnect) void this.#inspect().catch(this.#options.onError);
		}
	}

	#lost(why: string): void {
		this.#isSound = false;
		this.#trouble = why;
	}

	/** Asks until the server has answered: then it is sound, or wrong for good. */
	async #inspect(): Promise<void> {
		while (!this.#isClosed) {
			const verdict = await this.manager()
				.then((manager) => payloadFault(this.#connection) ?? this.#options.inspect(manager))
				.catch((error: unknown): Inspection => ({ is: "away", why: String(error) }));
			if (verdict.is === "sound") {
				this.#isSound = true;
				return;
			}
			this.#lost(verdict.why);
			if (verdict.is === "wrong") return this.#options.onWrong(verdict.why);
			await sleep(AGAIN_MS);
		}
	}
}

/** A batch that is larger than the server takes would be accepted by way of the outbox, and never leave it. */
function payloadFault(connection: NatsConnection | null): Inspection | null {
	const bytes = connection?.info?.max_payload ?? LEAST_MESSAGE_BYTES;
	if (bytes >= LEAST_MESSAGE_BYTES) return null;
	return { is: "wrong", why: `nats-server: max_payload is ${bytes}; it must be at least ${LEAST_MESSAGE_BYTES}` };
}
