import { spawn } from "node:child_process";

interface Limits {
	/** Killed after this long, or after `stallMs` without a sign of life when that is given. */
	limitMs: number;
	stallMs?: number;
	/** A number that changes while there is progress that cannot be seen in the output. */
	progress?: () => number;
	signal?: AbortSignal | undefined;
	env?: NodeJS.ProcessEnv;
	onLine?: (line: string) => void;
}

/** Runs a command to its end and gives its output; one line says why when it fails, hangs or is not there. */
export function output(command: string, args: string[], limits: Limits): Promise<string> {
	const { promise, resolve, reject } = Promise.withResolvers<string>();
	const stdio = ["ignore", "pipe", "pipe"] satisfies ["ignore", "pipe", "pipe"];
	const child = spawn(command, args, { stdio, ...(limits.env && { env: limits.env }) });
	const heard = { out: "", error: "" };
	const watch = watchdog(limits, (why) => {
		child.kill("SIGKILL");
		reject(new Error(why));
	});
	child.stdout.on("data", (chunk: Buffer) => {
		heard.out += chunk;
		watch.alive();
		for (const line of String(chunk).split(/[\r\n]+/)) if (line.trim()) limits.onLine?.(line.trim());
	});
	child.stderr.on("data", (chunk: Buffer) => {
		heard.error += chunk;
		watch.alive();
	});
	child.on("error", (error) => reject(new Error(`${command} cannot be run: ${error.message}`)));
	child.on("close", (code) => {
		if (code === 0) resolve(heard.out);
		else reject(new Error(lastLine(heard.error) ?? lastLine(heard.out) ?? `${command} ended with code ${code}`));
	});
	return promise.finally(watch.end);
}

function watchdog({ limitMs, stallMs, progress, signal }: Limits, bark: (why: string) => void) {
	const startedMs = Date.now();
	let aliveMs = startedMs;
	let seen = progress?.();
	const look = () => {
		const now = progress?.();
		if (now !== seen) aliveMs = Date.now();
		seen = now;
		if (Date.now() - startedMs > limitMs) bark(`not done within ${limitMs / 1000} s`);
		else if (stallMs && Date.now() - aliveMs > stallMs) bark(`no progress for ${stallMs / 1000} s`);
	};
	const aborted = () => bark("stopped");
	const timer = setInterval(look, 250);
	signal?.addEventListener("abort", aborted);
	const alive = () => {
		aliveMs = Date.now();
	};
	const end = () => {
		clearInterval(timer);
		signal?.removeEventListener("abort", aborted);
	};
	return { alive, end };
}

function lastLine(text: string): string | undefined {
	return text.trim().split("\n").filter(Boolean).at(-1)?.trim();
}
