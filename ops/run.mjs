// Runs a file of this project with a Node that can: `node ops/run.mjs FILE [args…]` or `node ops/run.mjs --bin jest -- [args…]`.
// Plain JavaScript without imports from node_modules: it must start on any Node from 18 on, in a fresh clone.
import { spawn } from "node:child_process";
import {
	existsSync,
	linkSync,
	mkdirSync,
	readFileSync,
	realpathSync,
	renameSync,
	rmSync,
	statSync,
	unlinkSync,
	utimesSync,
	writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const RUN = path.join(ROOT, ".run");
const MODULES = path.join(ROOT, "node_modules");
const LOCK = path.join(RUN, "install.lock");
const NODE_VERSION = "24.21.0";
const STALE_MS = 10_000;
const QUIET_NPM = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
// A registry that stalls in the middle of a package is asked again after 20 s; npm by itself would wait for five minutes.
const PATIENT_NPM = ["--fetch-timeout=20000", "--fetch-retries=6", "--fetch-retry-mintimeout=1000"];

async function main() {
	const wanted = parseArguments(process.argv.slice(2));
	// Node first: npm then runs on it as well, and does not warn about packages that want a newer one.
	const node = canRunTypeScript(process.versions.node) ? process.execPath : await ensureNode();
	await ensure(modulesAreRight, () => installModules(node));
	run(node, [...process.execArgv, "--disable-warning=ExperimentalWarning", entryOf(wanted), ...wanted.args]);
}

/** `--bin NAME -- args` or `FILE args`. */
function parseArguments(args) {
	const [first, second, ...rest] = args;
	if (first === undefined || (first === "--bin" && second === undefined)) {
		throw new Error("usage: node ops/run.mjs FILE [args…]   or   node ops/run.mjs --bin NAME [--] [args…]");
	}
	if (first === "--bin") return { bin: second, args: rest[0] === "--" ? rest.slice(1) : rest };
	return { file: first, args: args.slice(1) };
}

function entryOf({ bin, file }) {
	return bin === undefined ? path.resolve(file) : binFile(bin);
}

/** The JavaScript behind a bin name: read from its package, because on Windows `.bin` holds shell shims. */
function binFile(name) {
	const link = path.join(MODULES, ".bin", name);
	const folder = path.join(MODULES, name);
	const bin = readJson(path.join(folder, "package.json"))?.bin;
	const entry = typeof bin === "string" ? bin : bin?.[name];
	if (entry !== undefined) return path.join(folder, entry);
	if (existsSync(link)) return realpathSync(link);
	throw new Error(`no package in node_modules offers "${name}"`);
}

/** Type stripping is on by default from these versions on. */
function canRunTypeScript(version) {
	const [major, minor] = version.split(".").map(Number);
	return major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);
}

/** npm writes its own lock file last, so it is there only when an installation ended well. Packages for other platforms are left out of it. */
function modulesAreRight() {
	const wanted = readJson(path.join(ROOT, "package-lock.json"))?.packages;
	const present = readJson(path.join(MODULES, ".package-lock.json"))?.packages;
	if (wanted === undefined) throw new Error("package-lock.json is missing or broken: is this a whole clone?");
	return present !== undefined && Object.entries(wanted).every(([at, entry]) => isPresent(at, entry, present[at]));
}

function isPresent(at, wanted, present) {
	if (at === "" || (present === undefined && wanted.optional)) return true;
	return present?.version === wanted.version && present?.integrity === wanted.integrity;
}

async function installModules(node) {
	await npm(node, "installing the packages", ["ci", ...QUIET_NPM, ...PATIENT_NPM]);
	if (!modulesAreRight()) throw new Error("npm ci ended well, but node_modules does not match package-lock.json");
}

async function ensureNode() {
	const system = process.platform === "win32" ? "win" : process.platform;
	const name = `node-${system}-${process.arch}`;
	const home = path.join(RUN, "node");
	const present = () =>
		readJson(path.join(home, "node_modules", ".package-lock.json"))?.packages?.[`node_modules/${name}`]?.version;
	await ensure(
		() => present() === NODE_VERSION,
		async () => {
			const why = `Node ${process.versions.node} cannot run TypeScript: fetching Node ${NODE_VERSION} into .run/node, once`;
			await npm(process.execPath, why, [
				"install",
				"--prefix",
				home,
				"--no-save",
				...QUIET_NPM,
				...PATIENT_NPM,
				`${name}@${NODE_VERSION}`,
			]);
		},
	);
	return path.join(home, "node_modules", name, "bin", process.platform === "win32" ? "node.exe" : "node");
}

/** Does `work` unless `done` says it is done, and never in two processes at once. */
async function ensure(done, work) {
	if (done()) return;
	const release = await takeLock();
	try {
		if (!done()) await work();
	} finally {
		release();
	}
}

async function takeLock() {
	makeRunDir();
	for (let told = false; !tryLock(); told = true) {
		if (!told) say("another run is installing; waiting for it");
		dropStaleLock();
		await new Promise((resolve) => setTimeout(resolve, 200));
	}
	// The holder touches its lock: a process id alone could be somebody else's by now.
	const touch = setInterval(touchLock, STALE_MS / 5);
	return () => {
		clearInterval(touch);
		rmSync(LOCK, { force: true });
	};
}

function touchLock() {
	const now = new Date();
	if (existsSync(LOCK)) utimesSync(LOCK, now, now);
}

/** A hard link appears with its content or not at all. */
function tryLock() {
	const own = `${LOCK}.${process.pid}`;
	writeFileSync(own, String(process.pid));
	try {
		linkSync(own, LOCK);
		return true;
	} catch (error) {
		if (error.code !== "EEXIST") throw error;
		return false;
	} finally {
		rmSync(own, { force: true });
	}
}

function dropStaleLock() {
	try {
		const holder = readFileSync(LOCK, "utf8");
		if (isAlive(Number(holder)) && Date.now() - statSync(LOCK).mtimeMs < STALE_MS) return;
		const aside = `${LOCK}.${process.pid}.stale`;
		renameSync(LOCK, aside);
		// Another waiter may have been quicker: then we hold its fresh lock in hand and give it back.
		if (readFileSync(aside, "utf8") !== holder) linkSync(aside, LOCK);
		unlinkSync(aside);
	} catch (error) {
		if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
	}
}

function isAlive(pid) {
	try {
		return process.kill(pid, 0);
	} catch (error) {
		return error.code === "EPERM";
	}
}

function makeRunDir() {
	try {
		mkdirSync(RUN, { recursive: true });
	} catch (error) {
		throw new Error(`cannot write to ${RUN}: ${error.code}`);
	}
}

/** Runs npm and shows every few seconds that it is still at work. */
async function npm(node, what, args) {
	const since = Date.now();
	say(`${what} …`);
	const ticker = setInterval(() => say(`still at it (${Math.round((Date.now() - since) / 1000)} s)`), 5_000);
	try {
		await npmRun(node, args);
	} finally {
		clearInterval(ticker);
	}
	say(`done in ${Math.round((Date.now() - since) / 1000)} s`);
}

function npmRun(node, args) {
	const cli = process.env.npm_execpath ?? "";
	const known = path.basename(cli) === "npm-cli.js";
	const [command, all] = known ? [node, [cli, ...args]] : ["npm", args];
	return new Promise((resolve, reject) => {
		const shell = !known && process.platform === "win32";
		const child = spawn(command, all, {
			cwd: ROOT,
			env: environment(node),
			stdio: ["ignore", "inherit", "inherit"],
			shell,
		});
		child.on("error", (error) => reject(new Error(`npm cannot be run: ${error.message}`)));
		child.on("exit", (code) =>
			code === 0 ? resolve() : reject(new Error(`npm ${args[0]} failed (exit code ${code}); its message stands above`)),
		);
	});
}

function run(node, args) {
	const child = spawn(node, args, { env: environment(node), stdio: ["inherit", "inherit", "inherit", "ipc"] });
	// A terminal's Ctrl-C reaches the child as well; it must take two close together as one.
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
	if (process.env.npm_lifecycle_event) onParentGone(() => child.kill("SIGTERM"));
	process.on("disconnect", () => child.connected && child.disconnect());
	child.on("error", fail);
	child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

/** npm passes a SIGTERM on to its shell only, which dies of it and leaves us behind. */
function onParentGone(stop) {
	const parent = process.ppid;
	const timer = setInterval(() => {
		if (process.ppid === parent) return;
		clearInterval(timer);
		stop();
	}, 250);
}

function environment(node) {
	const PATH = [path.dirname(node), path.join(MODULES, ".bin"), process.env.PATH].join(path.delimiter);
	return { ...process.env, PATH };
}

function readJson(file) {
	try {
		return JSON.parse(readFileSync(file, "utf8"));
	} catch {
		return undefined;
	}
}

function say(line) {
	process.stderr.write(`run: ${line}\n`);
}

function fail(error) {
	say(error.message);
	process.exit(1);
}

main().catch(fail);
