import type { Cluster } from "./cluster.ts";
import { isGone, uuidBinary } from "./collections.ts";
import { MAJORITY } from "./write-concern.ts";

/** Giving collections other names: how copies change hands, and how sources are kept off from late writers. */

/** Another process has taken the copy over, and has given it another name. */
export class CopyGone extends Error {
	override readonly name = "CopyGone";
	constructor(copy: string) {
		super(`the copy ${copy} has gone to another process`);
	}
}

/** Renames a collection if it still is the one with this UUID; false when it is not there under that name. */
export async function renameCollection(
	cluster: Cluster,
	database: string,
	from: { name: string; uuid: string },
	to: string,
): Promise<boolean> {
	const [source, target] = [`${database}.${from.name}`, `${database}.${to}`];
	const guard = { collectionUUID: uuidBinary(from.uuid), writeConcern: MAJORITY };
	try {
		await cluster.command("admin", { renameCollection: source, to: target, ...guard });
		return true;
	} catch (error) {
		if (isGone(error)) return false;
		throw error;
	}
}
