import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

// Most of test/types holds uses that must not compile, each marked with @ts-expect-error: one that compiles is an error, too.
test("the project compiles under strict rules, and wrong uses of the contracts do not", () => {
	const tsc = spawnSync(process.execPath, [resolve("node_modules/typescript/bin/tsc"), "--project", "."], {
		encoding: "utf8",
	});
	expect(tsc.stdout + tsc.stderr).toBe("");
	expect(tsc.status).toBe(0);
});
