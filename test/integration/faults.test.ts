import { FENCED } from "../faults/databases.ts";
import { WORKER_KILLED } from "../faults/processes.ts";
import { NATS_KILLED } from "../faults/queue.ts";
import { scenario } from "../support/scenario.ts";

/** The quickest of the fault scenarios; `npm run faults` plays them all. */
for (const one of [NATS_KILLED, FENCED, WORKER_KILLED]) scenario(one);
