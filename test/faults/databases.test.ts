import { scenario } from "../support/scenario.ts";
import { DATABASE_SCENARIOS } from "./databases.ts";

for (const one of DATABASE_SCENARIOS) scenario(one);
