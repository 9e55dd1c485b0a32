import { Command } from "commander";
import { readConfig } from "../config.ts";
import { setUp } from "./system.ts";

const { credentials } = new Command("setup")
	.description("sets the system up on the NATS and MongoDB that the environment names; can run any number of times")
	.option("--credentials <file>", "make first credentials and keep their secrets in this file")
	.parse()
	.opts<{ credentials?: string }>();

try {
	await setUp(readConfig(process.env), credentials);
} catch (error) {
	console.error(error instanceof Error ? error.message : error);
	process.exit(1);
}
