/** A caller of REST with a credential of its own. */
export interface Reply {
	status: number;
	// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
	body: any;
	headers: Headers;
}

export type Rest = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Reply>;

/** `patienceMs`: how long it waits for an answer; without it as long as `fetch` does. */
export function restClient(url: string, credential?: string, patienceMs?: number): Rest {
	return async (method, path, body, headers = {}) => {
		const reply = await fetch(`${url}${path}`, {
			method,
			...(patienceMs !== undefined && { signal: AbortSignal.timeout(patienceMs) }),
			headers: {
				...(credential !== undefined && { authorization: `Bearer ${credential}` }),
				...(body !== undefined && { "content-type": "application/json" }),
				...headers,
			},
			...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
		});
		const text = await reply.text();
		return { status: reply.status, body: text === "" ? null : JSON.parse(text), headers: reply.headers };
	};
}
