import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The documents name only what exists, and name every script, environment variable and metric. */

interface Doc {
	file: string;
	text: string;
}

const ROOT = join(__dirname, "../..");
const SOURCE_ROOMS = "contracts domain lib accept streams stores jobs consume mixins services ops bench".split(" ");
const ROOMS = [...SOURCE_ROOMS, "test", "docs", "examples"].join("|");
const NAMED_FILE = new RegExp(`\`((?:${ROOMS})/[\\w./-]+\\.(?:ts|mjs|md|ndjson))\``, "g");

const METRIC = "alarm_[a-z_]+_(?:total|seconds|batches|bytes|parts|runs|months)";

const SCRIPTS = Object.keys(JSON.parse(read("package.json")).scripts);
const SOURCES = SOURCE_ROOMS.flatMap((room) => filesUnder(room, /\.(ts|mjs)$/)).map(read);
const VARIABLES = environmentVariables();
const METRICS = new Set(SOURCES.flatMap((text) => matches(text, new RegExp(`"(${METRIC})"`, "g"))));
const DOCS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", ...filesUnder("docs", /\.md$/)].map(doc);
const ALL = DOCS.map(({ text }) => text).join("\n");

function read(file: string): string {
	return readFileSync(join(ROOT, file), "utf8");
}

function doc(file: string): Doc {
	return { file, text: read(file) };
}

function filesUnder(folder: string, wanted: RegExp): string[] {
	const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" });
	return names.filter((name) => wanted.test(name) && !name.includes("node_modules")).map((name) => join(folder, name));
}

function matches(text: string, pattern: RegExp): string[] {
	return [...text.matchAll(pattern)].map(([, found = ""]) => found);
}

/** Variables of config.ts, and those that ops/ reads by itself. */
function environmentVariables(): Set<string> {
	const ofConfig = matches(read("config.ts"), /^\t([A-Z][A-Z_]+): /gm);
	const ofOps = SOURCES.flatMap((text) => matches(text, /process\.env\.([A-Z][A-Z_]+)/g));
	return new Set([...ofConfig, ...ofOps].filter((name) => name !== "PATH"));
}

function missingFiles({ text }: Doc): string[] {
	return matches(text, NAMED_FILE).filter((file) => !existsSync(join(ROOT, file)));
}

function missingScripts({ text }: Doc): string[] {
	return matches(text, /npm run ([a-z][\w:]*)/g).filter((name) => !SCRIPTS.includes(name));
}

function missingMetrics({ text }: Doc): string[] {
	const named = matches(text, new RegExp(`\`(${METRIC})[\`{]`, "g"));
	return named.filter((name) => !METRICS.has(name));
}

/** A variable is named as the first cell of a table of settings. */
function missingVariables({ text }: Doc): string[] {
	const rows = matches(text, /\| variable \|.*\n\|[-| ]+\n((?:\|.*\n?)*)/g).flatMap((table) => table.split("\n"));
	const named = rows.flatMap((row) => matches(row.split("|")[1] ?? "", /`([A-Z][A-Z_]+)`/g));
	return named.filter((name) => !VARIABLES.has(name));
}

/** The anchors that GitHub makes of headings; upper and lower case count as one. */
function anchorsOf(text: string): string[] {
	const headings = matches(text, /^#{1,6} (.+)$/gm);
	return headings.map((heading) =>
		heading
			.toLowerCase()
			.replace(/[^\p{L}\p{N}_ -]/gu, "")
			.replaceAll(" ", "-"),
	);
}

function brokenLinks({ file, text }: Doc): string[] {
	return matches(text, /\]\(([^)\s]+)\)/g).filter((link) => !/^\w+:/.test(link) && isBroken(file, text, link));
}

function isBroken(file: string, text: string, link: string): boolean {
	const [path = "", anchor] = link.split("#");
	const target = join(dirname(file), path);
	if (path !== "" && !existsSync(join(ROOT, target))) return true;
	if (anchor === undefined) return false;
	return !anchorsOf(path === "" ? text : read(target)).includes(anchor.toLowerCase());
}

function unnamed(names: Iterable<string>): string[] {
	return [...names].filter((name) => !new RegExp(`\\b${name}\\b`).test(ALL));
}

describe.each(DOCS)("$file", (document) => {
	test("names only files that exist", () => expect(missingFiles(document)).toEqual([]));
	test("names only npm scripts that exist", () => expect(missingScripts(document)).toEqual([]));
	test("names only metrics that exist", () => expect(missingMetrics(document)).toEqual([]));
	test("names only environment variables that exist", () => expect(missingVariables(document)).toEqual([]));
	test("links only to files and headings that exist", () => expect(brokenLinks(document)).toEqual([]));
});

describe("the documents together", () => {
	test("name every npm script", () => {
		const called = SCRIPTS.filter((name) => !ALL.includes(`npm run ${name}`) && !ALL.includes(`npm ${name}`));
		expect(called).toEqual([]);
	});
	test("name every environment variable", () => expect(unnamed(VARIABLES)).toEqual([]));
	test("name every metric", () => expect(unnamed(METRICS)).toEqual([]));
});

describe("a made-up document is reported for", () => {
	const made = (text: string): Doc => ({ file: "docs/made-up.md", text });

	test("a file that is gone", () => expect(missingFiles(made("See `stores/gone.ts`."))).toEqual(["stores/gone.ts"]));
	test("a script that is gone", () => expect(missingScripts(made("npm run nothing"))).toEqual(["nothing"]));
	test("a metric that is gone", () => {
		expect(missingMetrics(made("`alarm_nothing_total{lane}`"))).toEqual(["alarm_nothing_total"]);
	});
	test("a variable that is gone", () => {
		expect(missingVariables(made("| variable | default |\n|---|---|\n| `NO_SUCH` | 1 |\n"))).toEqual(["NO_SUCH"]);
	});
	test("a link to a page or heading that is gone", () => {
		const links = "[a](gone.md) [b](limits.md#no-such) [c](limits.md#moments) [d](#here)\n# Here\n";
		expect(brokenLinks(made(links))).toEqual(["gone.md", "limits.md#no-such"]);
	});
});
