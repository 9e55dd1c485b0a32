import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import type { Caller, Role } from "../contracts/access.ts";
import { Fault } from "../contracts/errors.ts";
import { type Credentials, callerOfKey, mayCall, parseCredential } from "../domain/access.ts";

/** Audience that a customer token must carry. */
export const AUDIENCE = "alarm-service";
export const SIGNATURE = "EdDSA";

export interface HasAdmission {
	admission: Admission;
}

/** A checked key is remembered so long at most: a revoked one is refused after that and the next load. */
const REMEMBER_KEY_MS = 10_000;
/** A token cannot be revoked, and checking its signature costs more than reading a page. */
const REMEMBER_TOKEN_MS = 300_000;
const REMEMBER_COUNT = 20_000;

type Keys = ReturnType<typeof createLocalJWKSet>;

/** Checks who is calling. Checking a signature costs 100 us and is asked twice per request, so what was checked is remembered. */
export class Admission {
	readonly #credentials: () => Credentials;
	readonly #known = new LRUCache<string, Caller>({ max: REMEMBER_COUNT, ttl: REMEMBER_KEY_MS });
	#keys: { of: Credentials; set: Keys } | null = null;

	constructor(credentials: () => Credentials) {
		this.#credentials = credentials;
	}

	/** The caller, if it may call an action for `roles` with `params`. @throws {Fault} UNAUTHENTICATED, FORBIDDEN. */
	async admit(auth: string | undefined, roles: readonly Role[], params: unknown): Promise<Caller> {
		const caller = await this.identify(auth);
		if (mayCall(caller, roles, params)) return caller;
		throw new Fault("FORBIDDEN", `A ${caller.role}'s credential may not do this here.`);
	}

	/** @throws {Fault} UNAUTHENTICATED when the credential is missing, unknown or over. */
	async identify(auth: string | undefined): Promise<Caller> {
		if (auth === undefined) throw new Fault("UNAUTHENTICATED", "Send your key or token: Authorization: Bearer …");
		const known = this.#known.get(auth);
		if (known !== undefined) return known;
		const { caller, forMs } = await this.#check(auth);
		this.#known.set(auth, caller, { ttl: Math.max(forMs, 1) });
		return caller;
	}

	async #check(auth: string): Promise<{ caller: Caller; forMs: number }> {
		const credential = parseCredential(auth);
		if (credential === null)
			throw new Fault("UNAUTHENTICATED", "The credential is neither a key nor a token of this service.");
		if (credential.kind === "token") return this.#checkToken(credential.jwt);
		const caller = callerOfKey(this.#credentials(), credential.id, credential.secret);
		if (caller === null) throw new Fault("UNAUTHENTICATED", "The key is unknown or was revoked.");
		return { caller, forMs: REMEMBER_KEY_MS };
	}

	async #checkToken(jwt: string): Promise<{ caller: Caller; forMs: number }> {
		const keys = this.#keySet();
		const verified = await jwtVerify(jwt, keys, {
			algorithms: [SIGNATURE],
			audience: AUDIENCE,
			requiredClaims: ["sub", "exp"],
		}).catch((error: unknown) => {
			throw new Fault(
				"UNAUTHENTICATED",
				`The token is not valid: ${error instanceof Error ? error.message : "unreadable"}.`,
			);
		});
		const { sub = "", exp = 0 } = verified.payload;
		return { caller: { role: "customer", name: sub }, forMs: Math.min(exp * 1_000 - Date.now(), REMEMBER_TOKEN_MS) };
	}

	#keySet(): Keys {
		const of = this.#credentials();
		if (this.#keys?.of !== of)
			this.#keys = { of, set: createLocalJWKSet({ keys: of.customerKeys } as unknown as JSONWebKeySet) };
		return this.#keys.set;
	}
}
