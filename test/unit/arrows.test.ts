import { readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";
import { LIMITS } from "../../contracts/alarm.ts";
import { ERRORS, FAILURES } from "../../contracts/errors.ts";

/** What the sources of a folder may import: other folders of ours, packages of Node, and packages of npm. */
interface Rule {
	folders: string[];
	/** Folders whose types alone may be imported. */
	typesOf?: string[];
	/** Modules of Node; "*" is any. */
	node: string[];
	/** Packages of npm; "*" is any but those of ONLY_IN. */
	npm: string[];
	/** True when config.ts may be imported for its types alone. */
	configTypes?: true;
}

const ANY = ["*"];
const PURE = ["crypto", "buffer"];
const BASE = ["contracts", "domain", "lib"];
const STORES = ["alarms", "clusters", "copy", "failures", "mongo", "reconcile", "routing"].map(
	(room) => `stores/${room}`,
);
const BELOW_JOBS = [...BASE, "accept", "streams", ...STORES];
const BELOW_MIXINS = [...BELOW_JOBS, "jobs", "consume"];
const BELOW_SERVICES = [...BELOW_MIXINS, "mixins"];

/** A room of `stores/`: what is below all of them, and the rooms of `stores/` that it stands on. */
function store(...rooms: string[]): Rule {
	return { folders: [...BASE, ...rooms.map((room) => `stores/${room}`)], node: ANY, npm: ANY, configTypes: true };
}

/** The arrows of the layout. A file at the top stands in the folder of its own name; "ops/embedded" is apart from "ops". */
const RULES: Record<string, Rule> = {
	contracts: { folders: ["contracts"], node: [], npm: [] },
	domain: { folders: ["contracts", "domain"], node: PURE, npm: [] },
	lib: { folders: BASE, node: ANY, npm: ANY },
	accept: { folders: [...BASE, "accept"], node: ANY, npm: ANY, configTypes: true },
	streams: { folders: [...BASE, "streams"], node: ANY, npm: ANY, configTypes: true },
	"stores/mongo": store("mongo"),
	"stores/routing": store("mongo", "routing"),
	"stores/alarms": store("mongo", "routing", "alarms"),
	"stores/copy": store("mongo", "routing", "copy"),
	"stores/reconcile": store("mongo", "routing", "reconcile"),
	"stores/failures": store("mongo", "routing", "alarms", "failures"),
	"stores/clusters": store("mongo", "routing", "alarms", "clusters"),
	jobs: { folders: [...BELOW_JOBS, "jobs"], node: ANY, npm: ANY, configTypes: true },
	consume: { folders: [...BELOW_JOBS, "consume"], typesOf: ["mixins"], node: ANY, npm: ANY, configTypes: true },
	mixins: { folders: BELOW_SERVICES, node: ANY, npm: ANY, configTypes: true },
	services: { folders: BELOW_SERVICES, node: ANY, npm: ANY, configTypes: true },
	bench: { folders: [...BELOW_SERVICES, "bench", "ops", "ops/embedded", "config.ts"], node: ANY, npm: ANY },
	"ops/embedded": { folders: ["ops/embedded"], node: ANY, npm: ANY },
	ops: {
		folders: [...BELOW_SERVICES, "services", "ops", "ops/embedded", "config.ts", "moleculer.config.ts"],
		node: ANY,
		npm: ANY,
	},
	"config.ts": { folders: ["contracts", "domain"], node: [], npm: ["envalid"] },
	"moleculer.config.ts": { folders: ["contracts", "lib"], node: [], npm: ["moleculer"], configTypes: true },
};

/** Packages that only some folders may touch. */
const ONLY_IN: Record<string, string[]> = {
	// The raw baselines of bench/ speak to the engines directly: that is what they are for.
	mongodb: ["stores", "ops/embedded", "bench"],
	nats: ["streams", "ops", "bench"],
};

/** Text that may stand only in some folders or files. */
const TEXT_ONLY_IN: { what: string; pattern: RegExp; places: string[] }[] = [
	{ what: "process.env", pattern: /\bprocess\.env\b/, places: ["config.ts", "ops", "ops/embedded"] },
	{
		what: "a call of the broker",
		pattern: /\b(?:ctx|context|broker|from)\.m?call\s*[(<]/,
		places: ["lib/moleculer/service.ts"],
	},
	{
		what: "export default",
		pattern: /^export default\b/m,
		places: ["services", "moleculer.config.ts", "jest.config.js"],
	},
];

/** Folders that hold no code of the service; tests may import anything. */
const NO_CODE = new Set(["node_modules", "test", "docs", "examples", "k8s", "public", "dist", "coverage"]);

/** A source by its path from the root, with slashes. */
type Sources = Record<string, string>;

function readSources(root: string, folder = ""): Sources {
	const sources: Sources = {};
	for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
		const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
		if (entry.name.startsWith(".") || (folder === "" && NO_CODE.has(entry.name))) continue;
		if (entry.isDirectory()) Object.assign(sources, readSources(root, path));
		else if (/\.(ts|mts|js|mjs)$/.test(entry.name)) sources[path] = readFileSync(join(root, path), "utf8");
	}
	return sources;
}

/** Where a path stands in the table. */
function placeOf(path: string): string {
	if (path.startsWith("ops/embedded/")) return "ops/embedded";
	if (path.startsWith("stores/")) return path.split("/", 2).join("/");
	return path.includes("/") ? path.slice(0, path.indexOf("/")) : path;
}

interface Import {
	from: string;
	typesOnly: boolean;
}

const STATEMENT = /^\s*(?:import|export)\s+(type\s)?[\w\s{},*$]*?\bfrom\s*["']([^"']+)["']/gm;
const BARE = /^\s*import\s*["']([^"']+)["']/gm;
const DYNAMIC = /\b(?:import|require)\s*\(\s*["'`]([^"'`]+)["'`]/g;

function importsOf(source: string): Import[] {
	const statements = [...source.matchAll(STATEMENT)].map(([, type, from = ""]) => ({
		from,
		typesOnly: type !== undefined,
	}));
	const others = [...source.matchAll(BARE), ...source.matchAll(DYNAMIC)];
	return [...statements, ...others.map(([, from = ""]) => ({ from, typesOnly: false }))];
}

function withoutComments(source: string): string {
	return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

function importFault(path: string, rule: Rule, one: Import): string | null {
	const { from } = one;
	if (from.startsWith(".")) return folderFault(path, rule, one);
	if (from.startsWith("node:"))
		return allows(rule.node, from.slice("node:".length)) ? null : "this module of Node is not pure";
	const name = from.split("/", from.startsWith("@") ? 2 : 1).join("/");
	const places = ONLY_IN[name];
	if (places !== undefined) return isIn(path, places) ? null : `only ${places.join(" and ")} may`;
	return allows(rule.npm, name) ? null : "it may import no such package";
}

/** A place, or the folder that it lies in. */
function isIn(path: string, places: string[]): boolean {
	return places.some((place) => placeOf(path) === place || placeOf(path).startsWith(`${place}/`));
}

function allows(list: string[], name: string): boolean {
	return list.includes("*") || list.includes(name);
}

function folderFault(path: string, rule: Rule, { from, typesOnly }: Import): string | null {
	const target = join(path, "..", from).split(sep).join("/");
	if (target.startsWith("..")) return "it is outside the project";
	const place = placeOf(target);
	if (place === "config.ts" && rule.configTypes) return typesOnly ? null : "only its types may be imported";
	if (rule.typesOf?.includes(place)) return typesOnly ? null : "only its types may be imported";
	return rule.folders.includes(place) ? null : `${placeOf(path)} may not import from ${place}`;
}

/** The files that each file imports, by their paths. */
function graphOf(sources: Sources): Map<string, string[]> {
	const targets = (path: string, text: string) =>
		importsOf(withoutComments(text))
			.filter(({ from }) => from.startsWith("."))
			.map(({ from }) => join(path, "..", from).split(sep).join("/"));
	return new Map(Object.entries(sources).map(([path, text]) => [path, targets(path, text)]));
}

/** Files that lie on a circle of imports, sorted: what is left when files without imports, then files that nobody imports, are taken away. */
function circles(sources: Sources): string[] {
	const graph = graphOf(sources);
	for (let before = -1; before !== graph.size; ) {
		before = graph.size;
		const imported = new Set([...graph.values()].flat());
		for (const [path, targets] of graph) {
			if (!imported.has(path) || !targets.some((target) => graph.has(target))) graph.delete(path);
		}
	}
	return [...graph.keys()].sort();
}

const EXPORT = /^export (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm;

/** Exports outside contracts and tests whose name stands in no other file. */
function unusedExports(sources: Sources): string[] {
	const texts = Object.entries(sources);
	const files = new Map<string, Set<string>>();
	for (const [path, text] of texts)
		for (const [word] of text.matchAll(/\w+/g)) files.set(word, (files.get(word) ?? new Set()).add(path));
	return texts
		.filter(([path]) => !/^(contracts|test)\//.test(path))
		.flatMap(([path, text]) => [...text.matchAll(EXPORT)].map(([, name = ""]) => ({ path, name })))
		.filter(({ name }) => (files.get(name)?.size ?? 0) < 2)
		.map(({ path, name }) => `${path}: ${name}`);
}

/** Everything that goes against the arrows, each with its file. */
function violations(sources: Sources): string[] {
	return Object.entries(sources).flatMap(([path, text]) => {
		const source = withoutComments(text);
		return [...importViolations(path, source), ...textViolations(path, source)];
	});
}

function importViolations(path: string, source: string): string[] {
	if (path === "jest.config.js") return [];
	const rule = RULES[placeOf(path)];
	if (rule === undefined) return [`${path}: no rule says what it may import`];
	return importsOf(source).flatMap((one) => {
		const fault = importFault(path, rule, one);
		return fault === null ? [] : [`${path}: imports "${one.from}": ${fault}`];
	});
}

function textViolations(path: string, source: string): string[] {
	const broken = TEXT_ONLY_IN.filter(
		({ pattern, places }) => pattern.test(source) && !places.includes(placeOf(path)) && !places.includes(path),
	);
	return broken.map(({ what, places }) => `${path}: has ${what}; only ${places.join(", ")} may`);
}

const ROOT = process.cwd();
const SOURCES = readSources(ROOT);
const TESTS = readSources(ROOT, "test");

describe("the sources", () => {
	test("keep to the arrows", () => {
		expect(violations(SOURCES)).toEqual([]);
	});

	test("have no circle of imports, tests included", () => {
		expect(circles({ ...SOURCES, ...TESTS })).toEqual([]);
	});

	test("export nothing that nobody imports, but what other nodes may need of the contracts", () => {
		expect(unusedExports({ ...SOURCES, ...TESTS })).toEqual([]);
	});

	test("are all found: every folder of the layout has some", () => {
		const places = new Set(Object.keys(SOURCES).map(placeOf));
		for (const place of Object.keys(RULES)) {
			expect(places).toContain(place);
		}
	});

	test("have their imports seen: none is of a form that the check does not know", () => {
		for (const [path, text] of Object.entries(SOURCES)) {
			const lines =
				withoutComments(text).match(
					/^\s*(?:import\b(?!\s*[.(])|\}\s*from\b|export\s+(?:\*|type\s*\{|\{)[^;]*\bfrom\b)/gm,
				) ?? [];
			const closers = lines.filter((line) => line.trim().startsWith("}")).length;
			// Static imports only: dynamic ones are no lines of their own.
			const known = importsOf(withoutComments(text).replace(DYNAMIC, "")).length;
			expect(`${path}: ${known}`).toBe(`${path}: ${lines.length - closers}`);
		}
	});
});

describe("a made-up source that goes against the arrows", () => {
	const found = (path: string, source: string) => violations({ [path]: source });

	test.each([
		["contracts that import the domain", "contracts/x.ts", 'import { x } from "../domain/alarms/ids.ts";'],
		["contracts that import a package", "contracts/x.ts", 'import type { Service } from "moleculer";'],
		["contracts that import Node", "contracts/x.ts", 'import { hash } from "node:crypto";'],
		["a domain that reads files", "domain/x.ts", 'import { readFileSync } from "node:fs";'],
		["a domain that imports a store", "domain/x.ts", 'import { x } from "../stores/alarms/inbox.ts";'],
		["a domain that imports lib", "domain/x.ts", 'import { x } from "../lib/timeout.ts";'],
		["a lib that imports a store", "lib/x.ts", 'export { x } from "../stores/alarms/inbox.ts";'],
		["a lib that imports the configuration", "lib/x.ts", 'import type { Config } from "../config.ts";'],
		["a store that imports streams", "stores/alarms/x.ts", 'import { x } from "../../streams/lanes.ts";'],
		[
			"streams that import a store, over several lines",
			"streams/x.ts",
			'import {\n\ta,\n\ttype B,\n} from "../stores/alarms/inbox.ts";',
		],
		["a store that imports JetStream", "stores/alarms/x.ts", 'import { connect } from "nats";'],
		["streams that import MongoDB", "streams/x.ts", 'import type { Document } from "mongodb";'],
		["a mixin that imports MongoDB", "mixins/x.ts", 'import { MongoClient } from "mongodb";'],
		["a mixin that imports a service", "mixins/x.ts", 'import x from "../services/gateway.service.ts";'],
		[
			"a store that reads the configuration itself",
			"stores/alarms/x.ts",
			'import { readConfig } from "../../config.ts";',
		],
		["a service that imports a service", "services/x.ts", 'import x from "./gateway.service.ts";'],
		["a service that imports ops", "services/x.ts", 'import { x } from "../ops/broker.ts";'],
		["a service that imports MongoDB", "services/x.ts", 'import { Long } from "mongodb";'],
		["a service that imports a part of MongoDB", "services/x.ts", 'import { x } from "mongodb/lib/bson";'],
		["a benchmark that imports a service", "bench/x.ts", 'import x from "../services/gateway.service.ts";'],
		["ops that import a test", "ops/x.ts", 'import { x } from "../test/support/system.ts";'],
		["ops that import MongoDB outside the embedded servers", "ops/x.ts", 'import { MongoClient } from "mongodb";'],
		["a bottom of the stores that imports a store", "stores/mongo/x.ts", 'import { x } from "../alarms/inbox.ts";'],
		["a store that imports its neighbour", "stores/copy/x.ts", 'import { x } from "../alarms/inbox.ts";'],
		["a store outside the rooms", "stores/x.ts", "export const x = 1;"],
		["a store that imports a job", "stores/copy/x.ts", 'import { x } from "../../jobs/lock/shard-lock.ts";'],
		["a job that imports MongoDB", "jobs/x.ts", 'import { Long } from "mongodb";'],
		["a job that imports JetStream", "jobs/x.ts", 'import { connect } from "nats";'],
		["accepting that imports a store", "accept/x.ts", 'import { x } from "../stores/alarms/outbox.ts";'],
		["consuming that imports MongoDB", "consume/x.ts", 'import { Long } from "mongodb";'],
		["consuming that imports more than types of a mixin", "consume/x.ts", 'import { x } from "../mixins/clusters.ts";'],
		["a dynamic import", "stores/alarms/x.ts", 'const x = await import("../../streams/lanes.ts");'],
		["a require", "domain/x.ts", 'const fs = require("node:fs");'],
		["an import for its effect", "lib/x.ts", 'import "../services/gateway.service.ts";'],
		["an import from outside", "lib/x.ts", 'import { x } from "../../elsewhere/x.ts";'],
		["a folder without a rule", "helpers/x.ts", "export const x = 1;"],
		["a read of the environment", "lib/x.ts", "export const x = process.env.HOME;"],
		["a call of the context", "services/x.ts", 'const x = await ctx.call("alarm.query.get", {});'],
		["a call of the broker", "mixins/x.ts", 'const x = await this.broker.call<string, object>("a.b", {});'],
		["several calls at once", "services/x.ts", "const x = await ctx.mcall([]);"],
		["a default export", "stores/alarms/x.ts", "export default class X {}"],
	])("is reported: %s", (_, path, source) => {
		const report = found(path, source);
		expect(report).toHaveLength(1);
		expect(report[0]?.startsWith(`${path}: `)).toBe(true);
	});

	test("is reported with each of its imports", () => {
		const source =
			'import { a } from "mongodb";\nimport { b } from "nats";\nexport * from "../stores/alarms/inbox.ts";';
		expect(found("domain/x.ts", source)).toEqual([
			'domain/x.ts: imports "mongodb": only stores and ops/embedded and bench may',
			'domain/x.ts: imports "nats": only streams and ops and bench may',
			'domain/x.ts: imports "../stores/alarms/inbox.ts": domain may not import from stores/alarms',
		]);
	});

	test("is told from a right one", () => {
		expect(found("domain/x.ts", 'import { hash } from "node:crypto";\nimport { x } from "./ids.ts";')).toEqual([]);
		expect(
			found("stores/alarms/x.ts", 'import type { Config } from "../../config.ts";\nimport { a } from "mongodb";'),
		).toEqual([]);
		expect(
			found("services/x.service.ts", 'import { call } from "../lib/moleculer/service.ts";\nexport default 1;'),
		).toEqual([]);
		expect(found("lib/x.ts", "// process.env is for config.ts\n/* ctx.call( */\nhandler.call(this);")).toEqual([]);
	});
});

describe("a made-up export", () => {
	test("is reported when no other file has its name", () => {
		const made = { "lib/a.ts": "export const one = 1;\nexport function two() {}", "lib/b.ts": "two();" };
		expect(unusedExports(made)).toEqual(["lib/a.ts: one"]);
	});
});

describe("a made-up circle of imports", () => {
	test("is reported, over several files and for types alone, and nothing beside it", () => {
		const made = {
			"lib/a.ts": 'import { b } from "./b.ts";',
			"lib/b.ts": 'import type { C } from "./c.ts";',
			"lib/c.ts": 'export { a } from "./a.ts";',
			"lib/below.ts": "export const x = 1;",
			"lib/above.ts": 'import { a } from "./a.ts";\nimport { x } from "./below.ts";',
		};
		expect(circles(made)).toEqual(["lib/a.ts", "lib/b.ts", "lib/c.ts"]);
	});

	test("is told from a diamond", () => {
		const made = {
			"lib/a.ts": 'import { b } from "./b.ts";\nimport { c } from "./c.ts";',
			"lib/b.ts": 'import { d } from "./d.ts";',
			"lib/c.ts": 'import { d } from "./d.ts";',
			"lib/d.ts": "export const d = 1;",
		};
		expect(circles(made)).toEqual([]);
	});
});

describe("the documents", () => {
	const errors = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
	const limits = readFileSync(join(ROOT, "docs/limits.md"), "utf8");
	const headings = [...errors.matchAll(/^#{2,4} ([A-Z][A-Z0-9_]+)$/gm)].map(([, code]) => code);

	test("have a heading for every error and failure, and for no other code", () => {
		expect([...headings].sort()).toEqual([...Object.keys(ERRORS), ...Object.keys(FAILURES)].sort());
	});

	test.each(Object.entries(ERRORS))(
		"list %s with its status and whether to retry",
		(code, { status, retry, title }) => {
			expect(errors).toContain(`| [${code}](#${code}) | ${status} | ${retry ? "yes" : "no"} | ${title}`);
		},
	);

	test.each(Object.entries(FAILURES))("list the failure %s with its sentence", (code, sentence) => {
		expect(errors).toContain(`| [${code}](#${code}) | ${sentence}`);
	});

	test("name no code of their own", () => {
		const known = new Set([...Object.keys(ERRORS), ...Object.keys(FAILURES)]);
		const named = [...`${errors}${limits}`.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map(([, code = ""]) => code);
		expect(named.filter((code) => !known.has(code))).toEqual([]);
	});

	test.each(Object.entries(LIMITS))("list the limit %s with its number", (name, limit) => {
		expect(limits).toContain(`| \`${name}\` | ${limit.toLocaleString("en")} |`);
	});

	test("list no limit that is none", () => {
		const listed = [...limits.matchAll(/^\| `(\w+)` \| [\d,]+ \|/gm)].map(([, name]) => name);
		expect(listed.sort()).toEqual(Object.keys(LIMITS).sort());
	});
});
