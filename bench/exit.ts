/** Ends the process with what `main` says, or with 3 when the run failed. */
export async function exitWith(main: () => Promise<number>): Promise<never> {
	try {
		process.exitCode = await main();
	} catch (error) {
		console.error(error instanceof Error ? (error.stack ?? error.message) : error);
		process.exitCode = 3;
	}
	process.exit();
}
