/** Puts what lies in an outbox on the queue, oldest first; the deeds are passed in. */

interface RelayLease {
	token: number;
	/** Of this process's `performance.now()`. */
	untilMs: number;
}

export interface RelayEffects<Row extends { _id: string }> {
	/** The lease, taken or made longer; null while another process has it. */
	lease(): Promise<RelayLease | null>;
	release(): Promise<void>;
	/** The oldest rows behind `after`, marked with the token. */
	claim(token: number, after: string): Promise<Row[]>;
	/** Resolves with the queue's word that it is on disk. */
	publish(row: Row): Promise<void>;
	/** The queue will never take this row: the others behind it must not wait. */
	isHopeless(error: unknown): boolean;
	remove(token: number, ids: string[]): Promise<void>;
}

/** Published at once. */
const WINDOW = 8;
/** Less than that left of the lease: it is made longer first. */
const MARGIN_MS = 3_000;

/**
 * Empties the outbox as far as the queue takes it, and tells how many batches went over. A row is removed only after its PubAck.
 * @throws what stopped it; what was published until then has been removed.
 */
export async function relayAll<Row extends { _id: string }>(effects: RelayEffects<Row>): Promise<number> {
	let relayed = 0;
	let after = "";
	for (let lease = await effects.lease(); lease !== null; lease = await effects.lease()) {
		const rows = await effects.claim(lease.token, after);
		if (rows.length === 0) break;
		relayed += await relayRows(effects, lease, rows);
		after = rows.at(-1)?._id ?? after;
	}
	await effects.release();
	return relayed;
}

async function relayRows<Row extends { _id: string }>(
	effects: RelayEffects<Row>,
	lease: RelayLease,
	rows: Row[],
): Promise<number> {
	const published: string[] = [];
	try {
		for (let at = 0; at < rows.length && hasTime(lease); at += WINDOW)
			await publishSome(effects, rows.slice(at, at + WINDOW), published);
	} finally {
		// Also after a lease that is over: rows that another relay has claimed meanwhile stay, for it to remove.
		await effects.remove(lease.token, published);
	}
	return published.length;
}

async function publishSome<Row extends { _id: string }>(
	effects: RelayEffects<Row>,
	rows: Row[],
	published: string[],
): Promise<void> {
	const settled = await Promise.allSettled(
		rows.map(async (row) => {
			await effects.publish(row);
			published.push(row._id);
		}),
	);
	const failures = settled.filter((one) => one.status === "rejected").map(({ reason }) => reason);
	for (const error of failures) if (!effects.isHopeless(error)) throw error;
}

/** A process that stood still finds its lease over, and leaves the rest to whoever has it now. */
function hasTime({ untilMs }: RelayLease): boolean {
	return performance.now() < untilMs - MARGIN_MS;
}
