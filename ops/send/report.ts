import { type Account, acceptedPerSecond, type Complaint, type Course, whatIsWrong } from "./send-account.ts";

/** The result as people read it. */
export function toTable(account: Account, course: Course): string {
	const rows = [...countRows(account), ...doubtRows(account), ...timeRows(account, course)];
	const width = Math.max(...rows.map(([name]) => name.length));
	const values = Math.max(...rows.map(([, value]) => value.length));
	const lines = rows.map(([name, value, note = ""]) =>
		`  ${name.padEnd(width)}  ${value.padStart(values)}  ${note}`.trimEnd(),
	);
	return ["", ...lines, ...complaintLines(account.complaints), ""].join("\n");
}

/** The result as programs read it. */
export function toJson(account: Account, course: Course): string {
	const wrong = whatIsWrong(account, course);
	return JSON.stringify({
		ok: wrong.length === 0,
		wrong,
		...account,
		...course,
		acceptedPerSecond: acceptedPerSecond(account, course),
	});
}

/** One line: all is right, or what is not. */
export function toVerdict(account: Account, course: Course): string {
	const wrong = whatIsWrong(account, course);
	if (wrong.length > 0) return `Not right: ${wrong.join(", ")}.`;
	const { stored, duplicate, expired, canceled } = account;
	const others = Object.entries({ duplicate, expired, canceled }).filter(([, count]) => count > 0);
	const ends = [`${stored} stored`, ...others.map(([name, count]) => `${count} ${name}`)];
	return `All right: ${account.accepted} of ${account.lines} lines accepted; ${ends.join(", ")}; none missing.`;
}

type Row = [name: string, value: string, note?: string];

const COUNTS = [
	...["lines", "sent", "accepted", "rejected", "invalid", "unknown"],
	...["stored", "failed", "duplicate", "expired", "pending", "missing"],
] as (keyof Account)[];

function countRows(account: Account): Row[] {
	const { rejectedByCode, duplicateIds, canceled, unanswered, retries } = account;
	const codes = Object.entries(rejectedByCode).map(([code, count]) => `${count} ${code}`);
	const notes: Partial<Record<keyof Account, string>> = { rejected: codes.join(", "), missing: "must be 0" };
	const rows = COUNTS.map((name): Row => [name, String(account[name]), notes[name] ?? ""]);
	rows.push(["duplicate ids", String(duplicateIds), "must be 0"]);
	if (canceled > 0) rows.push(["canceled", String(canceled)]);
	if (unanswered > 0) rows.push(["status not known", String(unanswered), "accepted, but asking got no answer"]);
	if (retries > 0) rows.push(["sent again", String(retries), "requests of which nothing had been accepted"]);
	return rows;
}

/** What became of the ids whose acceptance was not known. */
function doubtRows({ ofUnknown: { missing, ...others } }: Account): Row[] {
	const fates = Object.entries({ ...others, "not accepted": missing }).filter(([, count]) => count > 0);
	return fates.map(([fate, count]) => [`unknown: ${fate}`, String(count)]);
}

function timeRows(account: Account, course: Course): Row[] {
	const { sendingMs, settledAfterMs } = course;
	return [
		["sending", seconds(sendingMs), `${acceptedPerSecond(account, course)} accepted/s`],
		[
			"all settled after",
			settledAfterMs === null ? "-" : seconds(settledAfterMs),
			"from the first request, as seen by asking",
		],
	];
}

function seconds(timeMs: number): string {
	return `${(timeMs / 1_000).toFixed(1)} s`;
}

function complaintLines(complaints: Complaint[]): string[] {
	const lines = complaints.flatMap(({ line, what, id, code, message, faults = [] }) => [
		`  line ${line}: ${[what, id, code].filter(Boolean).join(" ")}: ${message}`,
		...faults.map(({ field, message: fault }) => `    ${field}: ${fault}`),
	]);
	return lines.length === 0 ? [] : ["", "The first of each kind:", ...lines];
}
