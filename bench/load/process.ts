import { readFileSync } from "node:fs";
import { answer, ready } from "../answering.ts";
import { type ClosedLoad, runClosed } from "./closed.ts";
import { type Followed, type LatencyLoad, runLatency } from "./latency.ts";
import { encodeRequest, type Request } from "./line.ts";
import { type OpenLoad, runOpen } from "./open.ts";

// The load generator: a process of its own, so that it never shares a thread with what it measures.

const known = new Map<string, Buffer[]>();

/** Encoded once per file: making requests is no part of a measurement. */
function requestsOf(file: string): Buffer[] {
	const kept = known.get(file) ?? (JSON.parse(readFileSync(file, "utf8")) as Request[]).map(encodeRequest);
	known.set(file, kept);
	return kept;
}

function run(load: ClosedLoad | OpenLoad | LatencyLoad): Promise<unknown> {
	switch (load.kind) {
		case "closed":
			return runClosed(load, requestsOf(load.requests));
		case "open":
			return runOpen(load, requestsOf(load.requests));
		case "latency":
			return runLatency(load, JSON.parse(readFileSync(load.alarms, "utf8")) as Followed[]);
	}
}

answer(run);
ready();
