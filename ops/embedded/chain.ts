/** One way to get something; it throws, with one line, when it does not work here. */
export interface Step<T> {
	name: string;
	attempt(): Promise<T>;
}

/** Told to people while something takes time. */
export type Say = (line: string) => void;

/** Tries the steps in order until one works. Each that fails says why in one line. */
export async function firstThatWorks<T>(what: string, steps: Step<T>[], say: Say): Promise<T | undefined> {
	for (const { name, attempt } of steps) {
		try {
			return await attempt();
		} catch (error) {
			say(`${what}: ${name}: ${firstLine(error)}`);
		}
	}
	return undefined;
}

/** What went wrong, in one line. */
export function firstLine(error: unknown): string {
	const message = error instanceof Error ? error.message : String(error);
	const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : "";
	return `${message.split("\n")[0]}${cause}`;
}
