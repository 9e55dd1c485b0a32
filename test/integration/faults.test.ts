import { WORKER_KILLED } from "../faults/processes.ts";
import { scenario } from "../support/scenario.ts";

/** One of the fault scenarios, so that each run sees their oracle; `npm run faults` plays them all. */
scenario(WORKER_KILLED);
