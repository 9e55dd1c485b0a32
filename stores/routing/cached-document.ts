import { Fault } from "../../contracts/errors.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { Refusal } from "../mongo/fatal-error.ts";
import { loadDocument, type Versioned } from "./versioned-documents.ts";

const POLL_MS = 3_000;

interface Watch<T> {
	/** Hears of every load that failed; the held version stays in use meanwhile. */
	onError: (error: unknown) => void;
	/** Refuses, by a `Refusal`, a document that this process must not use: then the start fails. */
	check?: (document: T) => void;
	/** Hears of every newer version before anybody else is given it. */
	onNewer?: (document: T) => void;
}

/** A versioned document held in memory and kept fresh: by polling, and at once when somebody calls `reload`. */
export class CachedDocument<T extends Versioned> {
	readonly #clusters: Clusters;
	readonly #id: string;
	readonly #watch: Watch<T>;
	#current: T | null = null;
	#loading: Promise<void> | null = null;
	/** Asked for, and not begun. */
	#next: Promise<void> | null = null;
	#timer: NodeJS.Timeout | null = null;

	constructor(clusters: Clusters, id: string, watch: Watch<T>) {
		this.#clusters = clusters;
		this.#id = id;
		this.#watch = watch;
	}

	/** The version in hand. @throws {Fault} UNAVAILABLE before the first load. */
	get current(): T {
		if (this.#current === null)
			throw new Fault("UNAVAILABLE", `The ${this.#id} is not loaded yet.`, { retryAfterS: 1 });
		return this.#current;
	}

	get isLoaded(): boolean {
		return this.#current !== null;
	}

	/** Begins to load and poll; resolves after the first try, whether it succeeded or not. @throws {Refusal} */
	async start(): Promise<void> {
		await this.#try();
		this.#timer ??= setInterval(() => void this.#try(), POLL_MS).unref();
	}

	stop(): void {
		if (this.#timer !== null) clearInterval(this.#timer);
		this.#timer = null;
	}

	/**
	 * Loads what is newest when it is asked for. A load in flight may have read before that: another one follows it, and callers that ask
	 * in between share that one.
	 */
	reload(): Promise<void> {
		this.#next ??= this.#loadNext();
		return this.#next;
	}

	async #loadNext(): Promise<void> {
		await this.#loading?.catch(() => undefined);
		this.#loading = this.#next;
		this.#next = null;
		await this.#load();
	}

	/** Takes a version that this process has just written. */
	take(next: T): void {
		if (this.#current !== null && next.version <= this.#current.version) return;
		this.#watch.onNewer?.(next);
		this.#current = next;
	}

	async #load(): Promise<void> {
		const found = await loadDocument<T>(this.#clusters, this.#id);
		if (found === null)
			throw new Fault("UNAVAILABLE", `The ${this.#id} does not exist: set the system up first (npm run setup).`);
		this.#watch.check?.(found);
		this.take(found);
	}

	async #try(): Promise<void> {
		try {
			await this.reload();
		} catch (error) {
			if (error instanceof Refusal && this.#timer === null) throw error;
			this.#watch.onError(error);
		}
	}
}
