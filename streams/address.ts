/** A NATS address as the client takes it: credentials apart, because it ignores those that stand in an address. */
interface NatsAddress {
	servers: string[];
	user?: string;
	pass?: string;
}

/** `natsUrl`: one or more `nats://user:password@host:port`, by comma; the first credentials found are used for all. */
export function natsAddress(natsUrl: string): NatsAddress {
	const urls = natsUrl.split(",").map((url) => new URL(url));
	const servers = urls.map(({ protocol, host }) => `${protocol}//${host}`);
	const known = urls.find(({ username }) => username !== "");
	if (known === undefined) return { servers };
	return { servers, user: decodeURIComponent(known.username), pass: decodeURIComponent(known.password) };
}
