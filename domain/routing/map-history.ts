import type { LockRecord, RoutingMap, ShardPlace } from "../../contracts/routing.ts";
import type { ChangeKind, MapChangeRow } from "../../contracts/shards.ts";

/** What a change of the routing map was, by its two versions: whoever makes one need not say it. */
export type Described = Omit<MapChangeRow, "at">;

interface Part {
	kind: ChangeKind;
	what: string;
	shard?: number;
	lock?: LockRecord | undefined;
	by?: string | undefined;
}

/** A new version is all that is needed to make sure that nobody else has made one. */
const NOTHING: Part = { kind: "duty", what: "nothing but the version: a mover has made sure that its duty stands" };

/** `writer`: the process that made it, of changes that nobody else stands for. */
export function describeChange(before: RoutingMap | null, next: RoutingMap, writer: string): Described {
	const parts = before === null ? [setUp(next)] : partsOf(before, next);
	const [first = NOTHING] = parts;
	return {
		version: next.version,
		kind: first.kind,
		what: parts.length === 0 ? NOTHING.what : parts.map(({ what }) => what).join("; "),
		shards: [...new Set(parts.flatMap(({ shard }) => shard ?? []))],
		by: first.lock?.holder ?? first.by ?? writer,
		run: first.lock?.run ?? null,
	};
}

function setUp({ shards, clusters }: RoutingMap): Part {
	return { kind: "set up", what: `${shards.length} shards over ${Object.keys(clusters).join(", ")}` };
}

/** The most important first: a switch is one also where collections change with it. */
function partsOf(before: RoutingMap, next: RoutingMap): Part[] {
	const ofShards = next.shards.flatMap((place, shard) => shardParts(shard, before.shards[shard] as ShardPlace, place));
	return [...ofShards, ...clusterParts(before, next), ...collectionParts(before, next)];
}

function shardParts(shard: number, before: ShardPlace, after: ShardPlace): Part[] {
	const lock = after.lock ?? before.lock;
	const part = (kind: ChangeKind, what: string): Part => ({ kind, what: `shard ${shard} ${what}`, shard, lock });
	if (before.cluster !== after.cluster) return [part("moved", `moved from ${before.cluster} to ${after.cluster}`)];
	const parts = Object.entries(after.collections).flatMap(([name, { tier, cluster }]) => {
		const was = before.collections[name]?.tier;
		if (was === undefined || was === tier) return [];
		const kind = tier === "archive" ? "archived" : tier === "dropped" ? "dropped" : "collections";
		return [part(kind, `${name}: ${was} to ${tier}${cluster === undefined ? "" : ` on ${cluster}`}`)];
	});
	if (JSON.stringify(before.retained) !== JSON.stringify(after.retained))
		parts.push(part("settled", retainedText(before, after)));
	if (parts.length === 0 && before.lock?.epoch !== after.lock?.epoch) parts.push(part("duty", lockText(before, after)));
	return parts;
}

function retainedText({ retained: before = [] }: ShardPlace, { retained: after = [] }: ShardPlace): string {
	const gone = before.filter(({ epoch }) => !after.some((one) => one.epoch === epoch));
	if (gone.length > 0) return `has nothing more on ${gone.map(({ cluster }) => cluster).join(", ")}: it was dropped`;
	return `is settled: nothing reached ${after.map(({ cluster }) => cluster).join(", ")} behind the switch`;
}

function lockText({ lock: before }: ShardPlace, { lock: after }: ShardPlace): string {
	if (after === undefined) return `is free again after ${before?.kind}`;
	return `is ${after.holder}'s for ${after.kind}${before === undefined ? "" : `, and ${before.holder}'s no more`}`;
}

function clusterParts(before: RoutingMap, next: RoutingMap): Part[] {
	const names = [...new Set([...Object.keys(before.clusters), ...Object.keys(next.clusters)])];
	return names.flatMap((name): Part[] => {
		const [was, is] = [before.clusters[name], next.clusters[name]];
		const part = (what: string, by?: string): Part[] => [{ kind: "cluster", what: `${name} ${what}`, by }];
		if (was === undefined) return part("was added", is?.by);
		if (is === undefined) return part("was retired", was.retiringBy);
		if (is.retiring !== undefined && was.retiring === undefined) return part("is being retired", is.retiringBy);
		if (was.retiring !== is.retiring) return part("is no longer being retired");
		return was.uri === is.uri ? [] : part("has another address");
	});
}

/** Names with the number of places where they were made, or are gone. */
function collectionParts(before: RoutingMap, next: RoutingMap): Part[] {
	const [was, is] = [placesOf(before), placesOf(next)];
	const made = [...is].filter((place) => !was.has(place));
	const gone = [...was].filter((place) => !is.has(place));
	return [
		...(made.length === 0 ? [] : [{ kind: "collections", what: `made ${countsText(made)}` } as const]),
		...(gone.length === 0 ? [] : [{ kind: "collections", what: `without ${countsText(gone)}` } as const]),
	];
}

function placesOf({ shards, clusters }: RoutingMap): Set<string> {
	const ofShards = shards.flatMap(({ collections }, shard) =>
		Object.keys(collections).map((name) => `${shard}/${name}`),
	);
	const names = Object.entries(clusters);
	return new Set([
		...ofShards,
		...names.flatMap(([at, place]) => Object.keys(place.collections).map((name) => `${at}/${name}`)),
	]);
}

const SHOWN = 8;

function countsText(places: string[]): string {
	const names = Map.groupBy(places, (place) => place.split("/")[1] ?? "");
	const all = [...names].map(([name, some]) => (some.length === 1 ? name : `${name} (${some.length})`)).sort();
	return all.length <= SHOWN ? all.join(", ") : `${all.slice(0, SHOWN).join(", ")} and ${all.length - SHOWN} more`;
}

/** Versions between two rows that nobody has told of, newest first. */
export function withGaps(rows: MapChangeRow[]): MapChangeRow[] {
	return rows.flatMap((row, at) => {
		const older = rows[at + 1]?.version ?? row.version - 1;
		return older >= row.version - 1 ? [row] : [row, gap(older + 1, row.version - 1)];
	});
}

function gap(from: number, to: number): MapChangeRow {
	const which = from === to ? `version ${to}` : `versions ${from} to ${to}`;
	const what = `${which}: whoever made the change ended before it could tell`;
	return { version: to, at: null, by: null, run: null, kind: "unknown", what, shards: [] };
}
