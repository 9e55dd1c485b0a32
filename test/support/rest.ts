/** A caller of REST with a credential of its own. */
export interface Reply {
	status: number;
	// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
	body: any;
	headers: Headers;
}

export type Rest = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Reply>;

export function restClient(url: string, credential?: string): Rest {
	return async (method, path, body, headers = {}) => {
		const reply = await fetch(`${url}${path}`, {
			method,
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
