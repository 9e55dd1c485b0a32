import { hash, timingSafeEqual } from "node:crypto";
import type { Caller, Role } from "../contracts/access.ts";

/** A key of a producer or operator as it is kept: the secret only as its hash (it is random, so one SHA-256 is enough). */
export interface StoredKey {
	id: string;
	role: Exclude<Role, "customer">;
	name: string;
	secretHash: string;
}

/** All that is needed to check a caller. Customer tokens are JWTs signed with one of `customerKeys` (public JWKs). */
export interface Credentials {
	keys: StoredKey[];
	customerKeys: Record<string, unknown>[];
}

type Credential = { kind: "key"; id: string; secret: string } | { kind: "token"; jwt: string };

/** What a credential looks like, before anything is checked. Null for what cannot be one. */
export function parseCredential(text: string): Credential | null {
	const [, id, secret] = /^ak_([a-z0-9]{12})_([\w-]{43})$/.exec(text) ?? [];
	if (id !== undefined && secret !== undefined) return { kind: "key", id, secret };
	return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) ? { kind: "token", jwt: text } : null;
}

export function showKey(id: string, secret: string): string {
	return `ak_${id}_${secret}`;
}

export function hashSecret(secret: string): string {
	return hash("sha256", secret, "hex");
}

/** The caller behind a key, or null when the key is unknown or its secret wrong. */
export function callerOfKey({ keys }: Credentials, id: string, secret: string): Caller | null {
	const key = keys.find((candidate) => candidate.id === id);
	if (key === undefined) return null;
	const same = timingSafeEqual(Buffer.from(key.secretHash, "hex"), Buffer.from(hashSecret(secret), "hex"));
	return same ? { role: key.role, name: key.name } : null;
}

/** Whether `caller` may call an action that admits `roles`; a customer only for the `userId` that is its own. */
export function mayCall(caller: Caller, roles: readonly Role[], params: unknown): boolean {
	if (!roles.includes(caller.role)) return false;
	return caller.role !== "customer" || (params as { userId?: unknown } | undefined)?.userId === caller.name;
}
