/** What `work` comes to, or null when that takes longer than `limitMs`: it then goes on unwatched, and its error is dropped. */
export async function within<T>(work: Promise<T>, limitMs: number): Promise<T | null> {
	const { promise: late, resolve } = Promise.withResolvers<null>();
	const timer = setTimeout(() => resolve(null), limitMs);
	try {
		return await Promise.race([work, late]);
	} finally {
		clearTimeout(timer);
	}
}
