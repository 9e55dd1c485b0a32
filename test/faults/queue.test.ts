import { scenario } from "../support/scenario.ts";
import { queueScenarios } from "./queue.ts";

for (const one of queueScenarios()) scenario(one);
