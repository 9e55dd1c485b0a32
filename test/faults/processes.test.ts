import { scenario } from "../support/scenario.ts";
import { PROCESS_SCENARIOS } from "./processes.ts";

for (const one of PROCESS_SCENARIOS) scenario(one);
