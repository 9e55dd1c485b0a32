import type { CollectionPlace } from "../../contracts/routing.ts";
import { addMonths, type Month, monthOf } from "../time/periods.ts";
import { monthOfCollection, SHARD_CATALOG } from "./collection-catalog.ts";

/** Which months a shard must have. What the router makes and what a worker waits for are one list, so that neither waits for the other. */

/** Months that nobody made in time (the router was away) are made up for so far back: accepted alarms of theirs may still wait. */
export const MONTHS_BACK = 12;

/** The collections of a shard in the map. */
type Places = Record<string, CollectionPlace>;

/** The months that a shard must have at `nowMs`, oldest first: what it has missed, the present, and what is made ahead. */
export function monthsDue(places: Places, nowMs: number): Month[] {
	const current = monthOf(nowMs);
	const first = firstMonth(places, current);
	const span = Array.from({ length: MONTHS_BACK + SHARD_CATALOG.alarms.ahead + 1 }, (_, at) =>
		addMonths(current, at - MONTHS_BACK),
	);
	return span.filter((month) => month >= first);
}

/** Whether a month without a collection is still to be made (wait for it) or over (the alarm is too late). */
export function monthIsComing(month: Month, places: Places, nowMs: number): boolean {
	return monthsDue(places, nowMs).includes(month);
}

/**
 * A month older than all that are held was never there, or was dropped; one older than an archived one was archived and dropped. Neither
 * is ever made again, whatever a clock says.
 */
function firstMonth(places: Places, current: Month): Month {
	const [oldest = current] = monthsAmong(places, () => true);
	const newestOver = monthsAmong(places, isOver).at(-1);
	return newestOver === undefined ? oldest : addMonths(newestOver, 1);
}

function isOver({ tier }: CollectionPlace): boolean {
	return tier === "archive" || tier === "dropped";
}

function monthsAmong(places: Places, isMeant: (place: CollectionPlace) => boolean): Month[] {
	return Object.entries(places)
		.filter(([, place]) => isMeant(place))
		.map(([name]) => monthOfCollection(name))
		.filter((month) => month !== null)
		.sort();
}
