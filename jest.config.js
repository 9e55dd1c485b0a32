/**
 * Packages that jest needs as CommonJS: ESM-only ones, and the one file of the MongoDB driver with a dynamic import, which fails
 * silently inside jest: the driver then greets the server without its name, and no connection ever comes about.
 */
const AS_COMMONJS = ["commander", "jose", "raw-body", "mongodb/lib/runtime_adapters"];

const shared = {
	testEnvironment: "<rootDir>/test/support/environment.cjs",
	transform: {
		"^.+\\.[tj]s$": [
			"@swc/jest",
			{ jsc: { parser: { syntax: "typescript" }, target: "es2024" }, module: { type: "commonjs" } },
		],
	},
	transformIgnorePatterns: [`/node_modules/(?!(${AS_COMMONJS.join("|")}))`],
};

export default {
	projects: [
		{ ...shared, displayName: "unit", testMatch: ["<rootDir>/test/unit/**/*.test.ts"] },
		{ ...shared, displayName: "ops", testMatch: ["<rootDir>/test/ops/**/*.test.ts"] },
		{ ...shared, displayName: "integration", testMatch: ["<rootDir>/test/integration/**/*.test.ts"] },
		{ ...shared, displayName: "e2e", testMatch: ["<rootDir>/test/e2e/**/*.test.ts"] },
		// Minutes for each scenario: only by `npm run faults`.
		{ ...shared, displayName: "faults", testMatch: ["<rootDir>/test/faults/**/*.test.ts"] },
	],
	testTimeout: 60_000,
	maxWorkers: 2,
	reporters: ["default", "<rootDir>/test/support/plain-summary.cjs"],
};
