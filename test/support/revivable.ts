import { freeze, thaw } from "./freeze.ts";

/** What runs as a process of its own. */
export interface Running {
	pid: number;
	ended: Promise<string>;
}

/** A server or node that can be killed, frozen and brought back as it was: on its port, with its data. */
export class Revivable<R extends Running> {
	#now: R;
	readonly #start: () => Promise<R>;
	#isDead = false;
	#isFrozen = false;

	constructor(first: R, start: () => Promise<R>) {
		this.#start = start;
		this.#adopt(first);
		this.#now = first;
	}

	/** The process of now, or the last one. */
	get now(): R {
		return this.#now;
	}

	get isDead(): boolean {
		return this.#isDead;
	}

	/** Sends the signal and waits for the end; tells how it ended. */
	async end(signal: NodeJS.Signals): Promise<string> {
		if (!this.#isDead) process.kill(this.#now.pid, signal);
		return this.#now.ended;
	}

	kill(): Promise<string> {
		return this.end("SIGKILL");
	}

	async freeze(): Promise<void> {
		await freeze(this.#now.pid);
		this.#isFrozen = true;
	}

	thaw(): void {
		if (this.#isFrozen && !this.#isDead) thaw(this.#now.pid);
		this.#isFrozen = false;
	}

	/** Whatever was done to it is over when this resolves. */
	async revive(): Promise<void> {
		this.thaw();
		if (!this.#isDead) return;
		this.#now = await this.#start();
		this.#adopt(this.#now);
	}

	#adopt(running: R): void {
		this.#isDead = false;
		void running.ended.then(() => {
			if (this.#now === running) this.#isDead = true;
		});
	}
}
