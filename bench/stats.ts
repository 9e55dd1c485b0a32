/** Small arithmetic on measured values. */

/** The value below which a part (0 to 1) of the values lies. NaN of nothing. */
export function quantile(values: ArrayLike<number>, part: number): number {
	const sorted = Float64Array.from(values).sort();
	return sorted[Math.min(Math.floor(sorted.length * part), sorted.length - 1)] ?? Number.NaN;
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: number[]): number {
	const sorted = Float64Array.from(values).sort();
	const middle = sorted.length / 2;
	const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
	return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}
