import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Environment of a process whose clock is off by so much: ahead of the servers' when above zero. */
export function skewedBy(skewMs: number, dir: string): { NODE_OPTIONS: string } {
	const file = join(dir, `skew${skewMs}.cjs`);
	writeFileSync(
		file,
		`const now = Date.now;
		globalThis.Date = class extends Date {
			constructor(...given) { super(...(given.length > 0 ? given : [now() + ${skewMs}])); }
			static now() { return now() + ${skewMs}; }
		};`,
	);
	return { NODE_OPTIONS: `--require ${file}` };
}
