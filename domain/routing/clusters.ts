import { CLUSTER_NAME } from "../../contracts/clusters.ts";
import { Fault } from "../../contracts/errors.ts";
import type { ClusterPlace, RoutingMap } from "../../contracts/routing.ts";
import { addDays } from "../time/periods.ts";
import { invalid } from "../validation-fault.ts";
import { sameHosts, shownAddress, weakConcern } from "./cluster-address.ts";
import { LEDGER_DAYS } from "./collection-catalog.ts";
import { nextVersion } from "./routing.ts";

/** Decisions about service clusters that come and go at run time. */

/** Names and addresses of the environment. */
export type Given = ReadonlyMap<string, string>;

/** Whether new ledger rows and outbox batches may go to a cluster. */
export function isOpen(map: RoutingMap, name: string): boolean {
	const place = map.clusters[name];
	return place === undefined ? map.retired?.[name] === undefined : place.retiring === undefined;
}

/** What is wrong between the environment and the map, or null. Users, passwords and options may differ: those of the environment stand. */
export function addressConflict(map: RoutingMap, given: Given): string | null {
	for (const [name, uri] of given) {
		const known = map.clusters[name]?.uri;
		if (known !== undefined && !sameHosts(known, uri))
			return `MONGO_SERVICE_URIS says that ${name} is at ${shownAddress(uri)}, but the routing map says ${shownAddress(known)}; name the same hosts, or leave ${name} out of MONGO_SERVICE_URIS. If the cluster has another address now, run the set-up with it (npm run setup)`;
	}
	return null;
}

/** The map as people may see it: addresses without users, passwords and options. */
export function shownMap(map: RoutingMap): RoutingMap {
	const shown = ([name, place]: [string, ClusterPlace]) => [
		name,
		place.uri === undefined ? place : { ...place, uri: shownAddress(place.uri) },
	];
	return { ...map, clusters: Object.fromEntries(Object.entries(map.clusters).map(shown)) };
}

/** @throws {Fault} VALIDATION_FAILED, without the value: it may hold a password. */
export function checkAddress(name: string, uri: string): void {
	const faults = [];
	if (!CLUSTER_NAME.test(name))
		faults.push({
			field: "name",
			rule: "pattern",
			message: "A cluster's name has 1 to 16 characters: a-z, 0-9 and -, a letter first.",
		});
	if (!/^mongodb(\+srv)?:\/\/[^\s/?]+(\/\S*|\?\S*)?$/.test(uri))
		faults.push({
			field: "uri",
			rule: "pattern",
			message: "An address looks like mongodb://host:port/?replicaSet=name.",
		});
	const weakness = weakConcern(uri);
	if (weakness !== null) faults.push({ field: "uri", rule: "concern", message: `The address says ${weakness}.` });
	if (faults.length > 0) throw invalid(faults);
}

/** What adding a cluster would be. */
export type Addition = "new" | "known" | "readdressed" | "returned";

/** @throws {Fault} when the name, or the address, is another cluster's. */
export function judgeAddition(
	map: RoutingMap,
	{ given, archive }: { given: Given; archive: ReadonlySet<string> },
	{ name, uri }: { name: string; uri: string },
): Addition {
	const place = map.clusters[name];
	const at = given.get(name) ?? place?.uri;
	if (archive.has(name) || name === "meta") throw nameTaken(name, "is that of another database of this system");
	if (at === undefined && place !== undefined)
		throw nameTaken(name, "is that of a cluster which the environment of other processes names");
	if (at === undefined) return newHere(map, given, name, uri);
	const isSame = sameHosts(at, uri);
	if (given.has(name) && !isSame)
		throw nameTaken(name, `is that of the cluster at ${shownAddress(at)}, by MONGO_SERVICE_URIS`);
	// In the environment, and not in the map: it was retired, or nobody has set it up yet.
	if (place === undefined) return newHere(map, given, name, uri);
	if (!isSame) return "readdressed";
	if (place.retiring !== undefined) return "returned";
	return place.uri === undefined || place.uri === uri ? "known" : "readdressed";
}

function nameTaken(name: string, why: string): Fault {
	return new Fault("CLUSTER_NAME_TAKEN", `The name ${name} ${why}; choose another one.`);
}

function newHere(map: RoutingMap, given: Given, name: string, uri: string): "new" {
	const ofMap = Object.entries(map.clusters).flatMap(([other, place]) =>
		place.uri === undefined ? [] : [[other, place.uri] as const],
	);
	const twin = [...ofMap, ...given].find(([other, known]) => other !== name && sameHosts(known, uri));
	if (twin !== undefined) throw alreadyKnown(twin[0]);
	return "new";
}

/** The address leads to a cluster that the system has. */
export function alreadyKnown(as: string): Fault {
	return new Fault("CLUSTER_KNOWN", `This is the cluster ${as}, which the system has already; give another address.`);
}

/** The map with the cluster in it. */
export function withCluster(map: RoutingMap, name: string, place: ClusterPlace, now: Date): RoutingMap {
	const next = nextVersion(map, now);
	next.clusters[name] = place;
	if (next.retired !== undefined) delete next.retired[name];
	return next;
}

/** The map with another address of the cluster, or with the same one; it is no longer being retired. */
export function withAddress(map: RoutingMap, name: string, uri: string, now: Date): RoutingMap {
	const next = nextVersion(map, now);
	const place = next.clusters[name];
	if (place?.uri !== undefined) place.uri = uri;
	delete place?.retiring;
	delete place?.retiringBy;
	return next;
}

/** Shards whose rows are on the cluster. */
export function shardsOn(map: RoutingMap, name: string): number[] {
	return map.shards.flatMap(({ cluster }, shard) => (cluster === name ? [shard] : []));
}

/** The map with the mark that the cluster is being retired; null when it has it already. @throws {Fault} when it cannot be retired. */
export function withRetiring(map: RoutingMap, name: string, by: string, now: Date): RoutingMap | null {
	const place = map.clusters[name];
	if (place === undefined) throw new Fault("CLUSTER_UNKNOWN", `There is no service cluster ${name}.`);
	if (place.retiring !== undefined) return null;
	const shards = shardsOn(map, name);
	if (shards.length > 0)
		throw inUse(`${name} holds the shards ${shards.join(", ")}; move them to other clusters first (shard move).`);
	if (!Object.keys(map.clusters).some((other) => other !== name && isOpen(map, other)))
		throw inUse(`${name} is the last cluster that takes ledger and outbox; add another one first.`);
	const next = nextVersion(map, now);
	next.clusters[name] = { ...place, retiring: now.toISOString(), retiringBy: by };
	return next;
}

/** A cluster that cannot be retired now. */
export function inUse(why: string): Fault {
	return new Fault("CLUSTER_IN_USE", why);
}

/** The map without the cluster; null when it is not being retired any more, or a shard is on it. */
export function withoutCluster(map: RoutingMap, name: string, now: Date): RoutingMap | null {
	if (map.clusters[name]?.retiring === undefined || shardsOn(map, name).length > 0) return null;
	const next = nextVersion(map, now);
	delete next.clusters[name];
	next.retired = { ...next.retired, [name]: now.toISOString() };
	return next;
}

/** A process asks for the map every 3 s; one that has slept for longer than this meets the fence. */
export const TELLING_MS = 60_000;

const KEPT = "is kept for its grace time, and then dropped by the mover";
const UNSETTLED = "is not settled: bring its move to its end first (shard status)";

/** What the map itself says of a cluster that is being retired: why it cannot go yet. */
export function waysOfMap(map: RoutingMap, name: string, nowMs: number): string[] {
	const toldAtMs = Date.parse(map.clusters[name]?.retiring ?? map.changedAt) + TELLING_MS;
	const young = nowMs < toldAtMs ? [`every process is being told, until ${new Date(toldAtMs).toISOString()}`] : [];
	const kept = map.shards.flatMap(({ retained = [], collections }, shard) => [
		...retained
			.filter(({ cluster }) => cluster === name)
			.map(({ settled }) => `shard ${shard} was moved away: what it has left behind ${settled ? KEPT : UNSETTLED}`),
		...Object.entries(collections)
			.filter(([, { retained }]) => retained?.cluster === name)
			.map(([month]) => `${month} of shard ${shard} was archived: its source ${KEPT}`),
	]);
	return [...young, ...kept];
}

/** A ledger day that holds rows. */
export function ledgerInTheWay(day: string): string {
	return `the ledger of ${day.replaceAll("_", "-")} is kept until ${addDays(day, LEDGER_DAYS + 1).replaceAll("_", "-")}`;
}
