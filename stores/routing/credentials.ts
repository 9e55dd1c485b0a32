import type { Credentials } from "../../domain/access.ts";
import type { Clusters } from "../mongo/clusters.ts";
import { copyDocument, loadDocument, MOST_TRIES, replaceDocument, type Versioned } from "./versioned-documents.ts";

export const CREDENTIALS_ID = "credentials";
export type VersionedCredentials = Credentials & Versioned;

export function loadCredentials(clusters: Clusters): Promise<VersionedCredentials | null> {
	return loadDocument<VersionedCredentials>(clusters, CREDENTIALS_ID);
}

/** Changes the credentials by compare-and-set, again when somebody else was first. */
export async function changeCredentials(
	clusters: Clusters,
	change: (cached: Credentials) => Credentials,
	triesLeft = MOST_TRIES,
): Promise<void> {
	const cached = await loadCredentials(clusters);
	const { keys, customerKeys } = change(cached ?? { keys: [], customerKeys: [] });
	const next = { version: (cached?.version ?? 0) + 1, keys, customerKeys };
	if (await replaceDocument(clusters, CREDENTIALS_ID, next)) return;
	if (triesLeft === 0) throw new Error("the credentials are being changed by others all the time; try again");
	await changeCredentials(clusters, change, triesLeft - 1);
}

/** Brings the copies on clusters that were away up to date. */
export function copyCredentials(clusters: Clusters, cached: VersionedCredentials): Promise<void> {
	return copyDocument(clusters, CREDENTIALS_ID, cached);
}
