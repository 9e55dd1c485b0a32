import { ready } from "./answering.ts";

// Uses all of a core, as a flood would, and touches nothing else.

const SLICE_MS = 20;

function burn(): void {
	const endMs = performance.now() + SLICE_MS;
	while (performance.now() < endMs);
	setImmediate(burn);
}

ready();
burn();
