import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { MoveDeps } from "../../jobs/migrate/migration.ts";
import { guard } from "../../ops/embedded/guard.ts";
import { endOf } from "../../ops/embedded/server-process.ts";
import type { Clusters } from "../../stores/mongo/clusters.ts";
import type { Order } from "./mover-child.ts";
import { realNowMs } from "./now.ts";
import type { TestServers } from "./servers.ts";

/** A mover that is not held up by anything. */
export function moveDeps(clusters: Clusters, node: string, more: Partial<MoveDeps> = {}): MoveDeps {
	return {
		clusters,
		node,
		onMap: () => undefined,
		nowMs: realNowMs,
		pace: async () => undefined,
		onProgress: () => undefined,
		onError: () => undefined,
		...more,
	};
}

/** A mover as a process, which stands still after each step until it is told to go on. */
export interface MoverProcess {
	pid: number;
	/** The next line it says: `step copied`, `end done`. */
	next(): Promise<string>;
	goOn(): void;
	/** Lets it go on until it has said this step. */
	until(step: string): Promise<void>;
	/** Lets it go on to its end, and tells it. */
	finish(): Promise<string>;
	kill(): Promise<string>;
}

export function startMover({ env, dir }: TestServers, order: Order): MoverProcess {
	const child = spawn(process.execPath, ["test/support/mover-child.ts"], {
		env: { ...env, TEST_DIR: dir, ORDER: JSON.stringify(order) },
		stdio: ["pipe", "pipe", "inherit"],
	});
	guard(child);
	const ended = endOf(child);
	const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
	const next = async () => {
		const { value, done } = await lines.next();
		return done ? `gone ${await ended}` : value;
	};
	const goOn = () => void child.stdin.write("go\n");
	const goUntil = async (isIt: (line: string) => boolean) => {
		for (let line = await next(); ; line = await next()) {
			if (isIt(line)) return line;
			if (line.startsWith("gone") || line.startsWith("end")) throw new Error(`the mover ended: ${line}`);
			goOn();
		}
	};
	return {
		pid: child.pid ?? 0,
		next,
		goOn,
		until: async (step) => void (await goUntil((line) => line === `step ${step}`)),
		finish: () => {
			goOn();
			return goUntil((line) => line.startsWith("end"));
		},
		kill: () => {
			child.kill("SIGKILL");
			return ended;
		},
	};
}
