// A reporter runs where the workers are started from, and those end with it.
require("./end-with-parent.cjs");

/** Ends a run with one plain line, "N passed, N failed", for whoever reads the log of a continuous integration. */
module.exports = class PlainSummary {
	onRunComplete(_contexts, { numPassedTests, numFailedTests, numPendingTests, numRuntimeErrorTestSuites }) {
		const failed = numFailedTests + numRuntimeErrorTestSuites;
		console.log(`\n${numPassedTests} passed, ${failed} failed, ${numPendingTests} skipped`);
	}
};
