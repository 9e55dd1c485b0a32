import {
	type ChangeStream,
	type ChangeStreamOptions,
	type Db,
	type Document,
	MongoClient,
	MongoError,
	MongoNetworkError,
} from "mongodb";
import { Fault } from "../../contracts/errors.ts";
import { inTime, TooLate } from "../../lib/timeout.ts";

/** One MongoDB cluster, connected lazily and checked at first contact. */

/** mongod 6.0: the first with clustered collections that take `collectionUUID`. */
const LEAST_WIRE_VERSION = 17;
/** Half of the query's callers' patience; a page takes a few ms. */
export const READ_MS = 2_000;

/** Of a sweep over a month, which nobody waits for: less than the socket's patience. */
const SWEEP_MS = 4_500;
const RAW_ROWS = { fieldsAsRaw: { firstBatch: true } };

// `timeoutMS` does nothing in driver 7.9. These four together notice a frozen server in 4-6 s.
const CLIENT_OPTIONS = {
	appName: "alarm-service",
	socketTimeoutMS: 5_000,
	connectTimeoutMS: 2_000,
	serverSelectionTimeoutMS: 2_000,
	heartbeatFrequencyMS: 2_000,
	maxPoolSize: 64,
	promoteBuffers: true,
	writeConcern: { w: "majority", journal: true },
} as const;

/** A server that answers, but with a setting on which the service's promises do not hold: the start is refused. */
export class WrongServer extends Error {
	override readonly name = "WrongServer";
}

export class Cluster {
	readonly name: string;
	readonly #client: MongoClient;
	/** The driver makes a new Db at each call, which costs more than many a command. */
	readonly #databases = new Map<string, Db>();
	#checked: Promise<void> | null = null;
	#isChecked = false;

	constructor(name: string, uri: string) {
		this.name = name;
		this.#client = new MongoClient(uri, CLIENT_OPTIONS);
		// Whoever answers after an outage may be another server: it is checked again.
		this.#client.on("serverHeartbeatFailed", () => {
			this.#isChecked = false;
			this.#checked = null;
		});
	}

	/** Runs one command. @throws {Fault} UNAVAILABLE when the cluster does not answer; every other error as the driver has it. */
	async command(database: string, command: Document): Promise<Document> {
		try {
			if (!this.#isChecked) await this.check();
			return await this.#db(database).command(command);
		} catch (error) {
			throw isOutage(error) ? unavailable(this.name, error) : error;
		}
	}

	/** The rows of a find of one batch as the server stores them: neither built nor looked into. */
	async readRaw(database: string, find: Document): Promise<Buffer[]> {
		try {
			if (!this.#isChecked) await this.check();
			const limited = { ...find, singleBatch: true, maxTimeMS: SWEEP_MS };
			const reply = await this.#db(database).command(limited, RAW_ROWS);
			return reply.cursor.firstBatch as Buffer[];
		} catch (error) {
			throw isOutage(error) ? unavailable(this.name, error) : error;
		}
	}

	/** What changes in a database, from a moment on; whoever opens it closes it. */
	watch(database: string, pipeline: Document[], options: ChangeStreamOptions): ChangeStream<Document, Document> {
		return this.#db(database).watch(pipeline, options) as ChangeStream<Document, Document>;
	}

	#db(name: string): Db {
		const kept = this.#databases.get(name) ?? this.#client.db(name);
		this.#databases.set(name, kept);
		return kept;
	}

	/** Runs one read, and once more when the first failed for a passing reason: the driver does not retry commands. */
	async read(database: string, command: Document): Promise<Document> {
		const limited = { ...command, maxTimeMS: READ_MS };
		try {
			return await this.command(database, limited);
		} catch (error) {
			if (!isRetryable(error)) throw error;
			return this.command(database, limited);
		}
	}

	/** @throws {WrongServer} once it answers and is a standalone, or too old. */
	check(): Promise<void> {
		this.#checked ??= this.#hello().catch((error: unknown) => {
			this.#checked = null;
			throw error;
		});
		return this.#checked;
	}

	/** What time it is on the server, in ms. */
	async askClock(): Promise<number> {
		const { localTime } = await this.command("admin", { hello: 1 });
		return (localTime as Date).getTime();
	}

	async #hello(): Promise<void> {
		// Once its first try to connect has failed, the driver answers everything with "Topology is closed": only this begins anew.
		await this.#client.connect();
		const admin = this.#client.db("admin");
		const hello = await admin.command({ hello: 1 });
		// Who may not ask (no right to) cannot have set it either: our own commands all say majority.
		const defaults = await admin.command({ getDefaultRWConcern: 1 }).catch(unlessUnavailable);
		const fault = wrongSetting(hello) ?? wrongConcern(defaults);
		if (fault !== null) throw new WrongServer(`the MongoDB cluster ${this.name} ${fault}`);
		this.#isChecked = true;
	}

	close(): Promise<void> {
		return this.#client.close();
	}
}

function wrongSetting(hello: Document): string | null {
	if (hello.setName === undefined && hello.msg !== "isdbgrid") {
		return "is a standalone mongod; the service needs a replica set (one node is enough): start it with --replSet";
	}
	return hello.maxWireVersion < LEAST_WIRE_VERSION ? "is older than MongoDB 6.0; bring 6.0 or newer" : null;
}

/** A refusal to answer this one question, but no silence. */
function unlessUnavailable(error: unknown): Document {
	if (isOutage(error)) throw error;
	return {};
}

function wrongConcern({ defaultWriteConcern: concern }: Document): string | null {
	if (concern?.w === undefined || concern.w === "majority") return null;
	return `has the default write concern w: ${concern.w}; it must be "majority": setDefaultRWConcern with defaultWriteConcern {w: "majority"}`;
}

function isRetryable(error: unknown): boolean {
	// A read that took too long would take as long again.
	if (isUnavailable(error)) return (error as { cause?: { code?: unknown } }).cause?.code !== MAX_TIME_EXPIRED;
	return error instanceof MongoError && error.hasErrorLabel("RetryableReadError");
}

/** True when a cluster did not answer, or not in time: nothing is known of the command. */
export function isUnavailable(error: unknown): boolean {
	return error instanceof Fault && error.type === "UNAVAILABLE";
}

/** What a cluster gives within `limitMs`: one that takes longer counts as not answering. @throws {Fault} UNAVAILABLE */
export async function answered<T>(name: string, work: Promise<T>, limitMs: number): Promise<T> {
	try {
		return await inTime(work, limitMs);
	} catch (error) {
		throw error instanceof TooLate ? unavailable(name, error) : error;
	}
}

/** That a cluster did not answer, as every caller understands it. */
export function unavailable(name: string, cause: unknown): Fault {
	const fault = new Fault("UNAVAILABLE", "A database does not answer; try again in a moment.", {
		retryAfterS: 1,
		cluster: name,
	});
	fault.cause = cause;
	return fault;
}

// Not primary, shutting down, stepping down, interrupted, exceeded time limit, primary not found.
const MAX_TIME_EXPIRED = 50;
const OUTAGE_CODES = new Set([MAX_TIME_EXPIRED, 91, 189, 202, 262, 10107, 11600, 11602, 13435, 13436]);

/** True for what says that a server, or the way to it, is away; nothing is known of what it was asked. */
export function isOutage(error: unknown): boolean {
	if (!(error instanceof MongoError)) return false;
	// Cleared pools are network errors, too, one of them by a name of its own.
	const network =
		error instanceof MongoNetworkError ||
		/^Mongo(ServerSelection|PoolClosed|WaitQueueTimeout|TopologyClosed|ClientClosed|NotConnected)/.test(error.name);
	return network || OUTAGE_CODES.has(Number(error.code));
}
