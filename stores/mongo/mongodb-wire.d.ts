/** Not part of the driver's public face: `stores/copy/raw-rows.ts` says why it is used, and a test that it still does what it did. */
declare module "mongodb/lib/cmap/commands.js" {
	export class DocumentSequence {
		constructor(field: string);
		/** @param document is only kept, and never looked into when `bytes` are given. */
		push(document: unknown, bytes: Uint8Array): number;
	}
}
