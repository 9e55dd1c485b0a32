/** What two sweeps in the order of `_id` say of each other. */

export interface SweptRow {
	id: Buffer;
	bytes: Buffer;
}

interface SweepDiff {
	/** Ids whose rows are not equal, or that only one side has. */
	different: Buffer[];
	/** What one side has read beyond the other, to be compared with what comes next. */
	rest: [SweptRow[], SweptRow[]];
}

/** Compares as far as both sides have been read; a side that has `ended` is read as far as it goes. */
export function diffRows(one: SweptRow[], other: SweptRow[], ended: [boolean, boolean]): SweepDiff {
	const different: Buffer[] = [];
	let [at, to] = [0, 0];
	for (;;) {
		const [left, right] = [one[at], other[to]];
		if (left === undefined || right === undefined) break;
		const order = left.id.compare(right.id);
		if (order !== 0 || !left.bytes.equals(right.bytes)) different.push(order <= 0 ? left.id : right.id);
		if (order <= 0) at++;
		if (order >= 0) to++;
	}
	// What lies beyond the end of the other side will find no partner any more.
	const [oneLeft, otherLeft] = [one.slice(at), other.slice(to)];
	if (ended[1]) different.push(...oneLeft.splice(0).map(({ id }) => id));
	if (ended[0]) different.push(...otherLeft.splice(0).map(({ id }) => id));
	return { different, rest: [oneLeft, otherLeft] };
}
