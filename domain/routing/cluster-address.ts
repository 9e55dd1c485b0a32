/** What can be said of a MongoDB address without asking anybody. */

const ADDRESS = /^(mongodb(?:\+srv)?:\/\/)(?:[^/]*@)?([^/?]*)/;

/** The hosts and nothing else: neither user and password nor options, which may hold secrets, too. */
export function shownAddress(uri: string): string {
	const [, scheme = "", hosts = ""] = ADDRESS.exec(uri) ?? [];
	return `${scheme}${hosts}`;
}

/** Whether two addresses name the same hosts; users, passwords and options may differ. */
export function sameHosts(one: string, other: string): boolean {
	return hostsOf(one) === hostsOf(other);
}

function hostsOf(uri: string): string {
	const [, scheme = "", hosts = ""] = ADDRESS.exec(uri) ?? [];
	const port = scheme.includes("+srv") ? "" : ":27017";
	const named = hosts.toLowerCase().split(",");
	return named
		.map((host) => (/:\d+$/.test(host) ? host : `${host}${port}`))
		.sort()
		.join();
}

/** What an address says of writes would hold for whatever does not say it itself: why it is too weak, or null. */
export function weakConcern(uri: string): string | null {
	const options = new URLSearchParams(uri.split("?")[1] ?? "");
	const w = options.get("w") ?? "majority";
	const journal = options.get("journal") ?? "true";
	if (w !== "majority") return `w=${w}; it must be w=majority, or leave it out`;
	return journal === "true" ? null : `journal=${journal}; leave it out`;
}
