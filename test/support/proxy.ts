import { connect, createServer, type Server, type Socket } from "node:net";
import { freePort } from "../../ops/embedded/port.ts";

/** A TCP proxy on 127.0.0.1 to one server, whose faults are switched while connections run through it. */

export type Direction = "toServer" | "toClient";

/** What happens to bytes that go one way. */
interface Way {
	delayMs: number;
	isDropping: boolean;
	/** Each connection is cut when it has carried so many more bytes. */
	cutAfterBytes: number;
}

interface Pair {
	ends: Record<Direction, Socket>;
	/** Bytes that each way has carried since the last `cutAfter`. */
	carried: Record<Direction, number>;
	/** What was swallowed cannot be made good: such a connection can only be killed. */
	hasLost: boolean;
}

const DIRECTIONS: Direction[] = ["toServer", "toClient"];
const OPPOSITE: Record<Direction, Direction> = { toServer: "toClient", toClient: "toServer" };
const healthy = (): Way => ({ delayMs: 0, isDropping: false, cutAfterBytes: Number.POSITIVE_INFINITY });

export class FaultProxy {
	readonly port: number;
	readonly #targetPort: number;
	readonly #pairs = new Set<Pair>();
	#ways: Record<Direction, Way> = { toServer: healthy(), toClient: healthy() };
	#server: Server | null = null;

	private constructor(port: number, targetPort: number) {
		this.port = port;
		this.#targetPort = targetPort;
	}

	static async start(targetPort: number): Promise<FaultProxy> {
		const proxy = new FaultProxy(await freePort(), targetPort);
		await proxy.#listen();
		return proxy;
	}

	/** How many connections run through it. */
	get connections(): number {
		return this.#pairs.size;
	}

	/** Bytes that go this way arrive so much later. */
	delay(direction: Direction, ms: number): void {
		this.#ways[direction].delayMs = ms;
	}

	/** Bytes that go this way are swallowed, also the end of a connection; the other way goes on: a half-open connection. */
	drop(direction: Direction): void {
		this.#ways[direction].isDropping = true;
	}

	/** Every connection is cut when so many more bytes have gone this way; those before the cut still arrive. */
	cutAfter(direction: Direction, bytes: number): void {
		this.#ways[direction].cutAfterBytes = bytes;
		for (const pair of this.#pairs) pair.carried[direction] = 0;
	}

	/** New connections are refused; those that run go on. */
	refuse(): void {
		this.#server?.close();
		this.#server = null;
	}

	killAll(): void {
		for (const pair of this.#pairs) this.#kill(pair);
	}

	/** As if nothing had been, except that connections which have lost bytes are killed: TCP never delivers with a hole. */
	async heal(): Promise<void> {
		this.#ways = { toServer: healthy(), toClient: healthy() };
		for (const pair of this.#pairs) if (pair.hasLost) this.#kill(pair);
		if (this.#server === null) await this.#listen();
	}

	close(): void {
		this.refuse();
		this.killAll();
	}

	#listen(): Promise<void> {
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const server = createServer({ allowHalfOpen: true }, (client) => this.#join(client));
		this.#server = server;
		server.on("error", reject);
		server.listen(this.port, "127.0.0.1", resolve);
		return promise;
	}

	#join(client: Socket): void {
		const server = connect({ port: this.#targetPort, host: "127.0.0.1", allowHalfOpen: true });
		const ends = { toServer: server, toClient: client };
		const pair: Pair = { ends, carried: { toServer: 0, toClient: 0 }, hasLost: false };
		this.#pairs.add(pair);
		for (const direction of DIRECTIONS) this.#carry(pair, direction);
	}

	/** Takes what one end says and gives it to the other, in order, each piece in its own time. */
	#carry(pair: Pair, direction: Direction): void {
		const from = pair.ends[OPPOSITE[direction]];
		const inTurn = turns();
		from.setNoDelay(true);
		from.on("data", (bytes: Buffer) => {
			const way = this.#ways[direction];
			if (way.isDropping) pair.hasLost = true;
			else inTurn(way.delayMs, () => this.#forward(pair, direction, bytes));
		});
		from.on("end", () => {
			if (this.#ways[direction].isDropping) pair.hasLost = true;
			else inTurn(this.#ways[direction].delayMs, () => pair.ends[direction].end());
		});
		from.on("close", () => this.#closed(pair, direction));
		// A reset is a close like any other; without a listener it would end the test.
		from.on("error", () => undefined);
	}

	#forward(pair: Pair, direction: Direction, bytes: Buffer): void {
		const [to, from] = [pair.ends[direction], pair.ends[OPPOSITE[direction]]];
		const left = this.#ways[direction].cutAfterBytes - pair.carried[direction];
		pair.carried[direction] += bytes.length;
		if (bytes.length > left) to.write(bytes.subarray(0, left), () => this.#kill(pair));
		else if (!to.write(bytes)) {
			from.pause();
			to.once("drain", () => from.resume());
		}
	}

	#closed(pair: Pair, direction: Direction): void {
		if (this.#ways[direction].isDropping) pair.hasLost = true;
		else if (pair.ends[OPPOSITE[direction]].errored || pair.ends[direction].destroyed) this.#kill(pair);
	}

	#kill(pair: Pair): void {
		this.#pairs.delete(pair);
		for (const direction of DIRECTIONS) pair.ends[direction].destroy();
	}
}

/** Deeds one after the other, none before its own delay is over. */
function turns(): (delayMs: number, deed: () => void) => void {
	let last = Promise.resolve();
	return (delayMs, deed) => {
		const due = delayMs > 0 ? new Promise<void>((resolve) => setTimeout(resolve, delayMs).unref()) : undefined;
		last = last.then(() => due).then(deed);
	};
}
