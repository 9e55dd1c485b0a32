import { eventually } from "../support/eventually.ts";
import type { Rest } from "../support/rest.ts";
import { type Answered, longestSilenceMs, SteadyLoad } from "../support/steady-load.ts";

const at = (toldMs: number, is: "ok" | "unknown" = "ok") =>
	({ told: is === "ok" ? { is, id: "x" } : { is, why: "" }, toldMs }) as Answered;

test.each([
	["between two answers", [at(10), at(70), at(90)], 60],
	["before the first", [at(80), at(90)], 80],
	["after the last", [at(10), at(20)], 80],
	["over doubtful answers", [at(10), at(40, "unknown"), at(95)], 85],
	["all the while", [], 100],
])("the longest silence is found %s", (_where, answers, silentMs) => {
	expect(longestSilenceMs(answers, 0, 100)).toBe(silentMs);
});

/** Answers like an edge that accepts, or as `told` says at each attempt. */
function edge(seen: unknown[], refusals = 0): Rest {
	let left = refusals;
	return async (_method, path, body) => {
		seen.push(body);
		if (left-- > 0) return { status: 503, body: { code: "OVERLOADED" }, headers: new Headers() };
		const items = (body as { alarms?: unknown[] }).alarms?.map((_, n) => ({ id: `${seen.length}-${n}` }));
		return { status: 202, body: path.endsWith("bulk") ? { items } : { id: `${seen.length}` }, headers: new Headers() };
	};
}

async function sentWith(seed: number): Promise<unknown[]> {
	const seen: unknown[] = [];
	const load = await SteadyLoad.start({ name: "seeded", seed, producers: [edge(seen)], perSecond: 1_000 });
	await eventually(() => seen.length >= 40, "forty requests");
	await load.stop();
	return seen.slice(0, 40);
}

test("the same seed sends the same alarms in the same order, another seed others", async () => {
	const first = await sentWith(5);
	expect(await sentWith(5)).toEqual(first);
	expect(await sentWith(6)).not.toEqual(first);
});

test("every alarm has a mark of its own and an answer", async () => {
	const load = await SteadyLoad.start({ name: "marks", seed: 1, producers: [edge([])], perSecond: 1_000 });
	await load.acceptedMore(200);
	const answers = await load.stop();
	const marks = new Set(answers.map(({ alarm }) => alarm.data.mark));
	expect(marks.size).toBe(answers.length);
	expect(load.accepted).toBe(answers.length);
});

test("with keys, what was refused is sent again with the same key until it is accepted", async () => {
	const load = await SteadyLoad.start({
		...{ name: "keyed", seed: 1, producers: [edge([], 3)], perSecond: 1_000, keyed: true },
	});
	await load.acceptedMore(50);
	const answers = await load.stop();
	const byMark = Map.groupBy(answers, ({ alarm }) => alarm.data.mark);
	expect([...byMark.values()].every((some) => some.at(-1)?.told.is === "ok")).toBe(true);
	expect(answers.some(({ told }) => told.is === "refused")).toBe(true);
	expect(answers.every(({ alarm }) => alarm.idempotencyKey === alarm.data.mark)).toBe(true);
});
