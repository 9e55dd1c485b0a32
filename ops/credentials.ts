import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from "jose";
import { type Credentials, hashSecret, parseCredential, type StoredKey, showKey } from "../domain/access.ts";
import { AUDIENCE, SIGNATURE } from "../lib/admission.ts";
import type { Clusters } from "../stores/mongo/clusters.ts";
import { changeCredentials } from "../stores/routing/credentials.ts";

/** First credentials. Secrets go into a file of the operator's and nowhere else; the database keeps hashes and the public key. */

/** What the file holds. `signingKey` issues customer tokens: in a bank that is the login system's. */
export interface LocalCredentials {
	producerKey: string;
	opsKey: string;
	signingKey: JWK;
	userToken: { userId: string; token: string };
}

const DEMO_USER = "u000001";
const TOKEN_DAYS = 30;

/** Keeps the file's secrets when it is there, and sees that the database knows them; a new file gets new ones. */
export async function setUpCredentials(clusters: Clusters, file: string): Promise<void> {
	const local = (await readLocal(file)) ?? (await newLocal());
	const { userId } = local.userToken;
	const fresh = { ...local, userToken: { userId, token: await customerToken(local.signingKey, userId) } };
	await writeFile(`${file}.new`, `${JSON.stringify(fresh, null, "\t")}\n`, { mode: 0o600 });
	await rename(`${file}.new`, file);
	const own: Credentials = {
		keys: [storedKey(local.producerKey, "producer", "demo"), storedKey(local.opsKey, "operator", "local")],
		customerKeys: [publicKey(local.signingKey)],
	};
	await changeCredentials(clusters, (held) => merged(held, own));
}

async function readLocal(file: string): Promise<LocalCredentials | null> {
	try {
		return JSON.parse(await readFile(file, "utf8")) as LocalCredentials;
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return null;
		throw error;
	}
}

async function newLocal(): Promise<LocalCredentials> {
	const { privateKey } = await generateKeyPair(SIGNATURE, { extractable: true });
	const signingKey = { ...(await exportJWK(privateKey)), kid: randomBytes(6).toString("hex"), alg: SIGNATURE };
	return { producerKey: newKey(), opsKey: newKey(), signingKey, userToken: { userId: DEMO_USER, token: "" } };
}

function newKey(): string {
	return showKey(randomBytes(6).toString("hex"), randomBytes(32).toString("base64url"));
}

function storedKey(key: string, role: StoredKey["role"], name: string): StoredKey {
	const credential = parseCredential(key);
	if (credential?.kind !== "key")
		throw new Error("the credentials file holds a key that is none; remove the file to get new ones");
	return { id: credential.id, role, name, secretHash: hashSecret(credential.secret) };
}

function publicKey({ d: _private, ...open }: JWK): Record<string, unknown> {
	return open;
}

function merged(held: Credentials, own: Credentials): Credentials {
	const ownIds = new Set(own.keys.map(({ id }) => id));
	const ownKids = new Set(own.customerKeys.map(({ kid }) => kid));
	return {
		keys: [...held.keys.filter(({ id }) => !ownIds.has(id)), ...own.keys],
		customerKeys: [...held.customerKeys.filter(({ kid }) => !ownKids.has(kid)), ...own.customerKeys],
	};
}

/** A token of a customer, as the bank's login would issue it. */
export async function customerToken(signingKey: JWK, userId: string): Promise<string> {
	const key = await importJWK(signingKey, SIGNATURE);
	return new SignJWT({})
		.setProtectedHeader({ alg: SIGNATURE, ...(signingKey.kid !== undefined && { kid: signingKey.kid }) })
		.setSubject(userId)
		.setAudience(AUDIENCE)
		.setIssuedAt()
		.setExpirationTime(`${TOKEN_DAYS}d`)
		.sign(key);
}
