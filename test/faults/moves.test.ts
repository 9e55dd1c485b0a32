import { scenario } from "../support/scenario.ts";
import { MOVE_SCENARIOS } from "./moves.ts";

for (const one of MOVE_SCENARIOS) scenario(one);
