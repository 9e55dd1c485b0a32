import { scenario } from "../support/scenario.ts";
import { NODE_SCENARIOS } from "./nodes.ts";

for (const one of NODE_SCENARIOS) scenario(one);
