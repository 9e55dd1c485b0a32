import { stringify } from "csv-stringify/sync";
import type { Failure } from "../../contracts/failures.ts";

const COLUMNS = [
	...["id", "code", "message", "producer", "userId", "category", "lane", "acceptedAt", "failedAt"],
	...["discardedBy", "discardedWhy", "discardedAt"],
];

/** Failures for a spreadsheet: UTF-8 with a byte order mark (without it Excel takes Korean for Latin), a header, a line per failure. */
export function toCsv(failures: Failure[]): string {
	return stringify(failures.map(toCells), {
		bom: true,
		header: true,
		columns: COLUMNS,
		record_delimiter: "windows",
		cast: { string: harmless },
	});
}

function toCells({ discarded, ...cells }: Failure): Record<string, string> {
	if (discarded === undefined) return cells;
	return { ...cells, discardedBy: discarded.by, discardedWhy: discarded.why, discardedAt: discarded.at };
}

// The package's own `escape_formulas` knows of the control characters only tab and carriage return.
const RUNS_AS_FORMULA = /^[=+\-@\p{Cc}\uFF1D\uFF0B\uFF0D\uFF20]/u;

/** A cell that a spreadsheet would run as a formula becomes text by a leading apostrophe. */
function harmless(cell: string): string {
	return RUNS_AS_FORMULA.test(cell) ? `'${cell}` : cell;
}
