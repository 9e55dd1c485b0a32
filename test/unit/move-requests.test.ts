import type { Run } from "../../contracts/archive.ts";
import type { RoutingMap } from "../../contracts/routing.ts";
import { moveShown, moveToCancel, moveToChange, rejectMove, rejectStrayed } from "../../domain/jobs/move-requests.ts";
import { moveIdOf, newRun } from "../../domain/jobs/runs.ts";
import { firstMap } from "../../domain/routing/routing.ts";
import { iso, NOW_MS, SECOND_MS } from "./samples.ts";

const map = firstMap(4, ["c0", "c1", "c2"], new Date(NOW_MS));
const move = (to: string, own: Partial<Run> = {}): Run => ({
	...newRun(moveIdOf(0, to), { kind: "move", shard: 0, month: null, to }, "ops", NOW_MS),
	...own,
});
const ask = (to: string, moves: Run[] = [], more: object = {}, on: RoutingMap = map) =>
	rejectMove(on, moves, { shard: 0, to, ...more });
const why = { code: "COPY_DIFFERS", message: "three rows" };
const left = { cluster: "c0", epoch: 1, since: "", settled: false };
/** Shard 0 was switched to c1, and what it has left is not settled. */
const switched: RoutingMap = {
	...map,
	shards: map.shards.with(0, { cluster: "c1", collections: {}, retained: [left] }),
};

describe("a shard", () => {
	test("may move to any other cluster that is not being retired, and again where it was done, canceled or is under way", () => {
		for (const state of ["done", "canceled", "planned", "running", "waiting", "stopped"] as const)
			expect(() => ask("c1", [move("c1", { state })])).not.toThrow();
		expect(() => ask("c1", [move("c2", { state: "done" }), move("c2", { state: "refused" })])).not.toThrow();
		const retiring = { ...map, clusters: { ...map.clusters, c1: { collections: {}, retiring: iso(NOW_MS) } } };
		expect(() => ask("c1", [], {}, retiring)).toThrow("being retired");
		expect(() => ask("c7")).toThrow("the service clusters are c0, c1, c2");
		expect(() => ask("c0")).toThrow("is on c0 already");
	});

	test("on its way to one cluster moves to no other", () => {
		expect(() => ask("c1", [move("c2", { state: "stopped" })])).toThrow("half moved to c2 and paused (move-s00-c2)");
		expect(() => ask("c1", [move("c1", { canceling: true })])).toThrow("being canceled");
	});

	test("whose move was refused moves there only afresh", () => {
		const refused = [move("c1", { state: "refused", reason: why })];
		expect(() => ask("c1", refused)).toThrow("COPY_DIFFERS: three rows");
		expect(() => ask("c1", refused, { fresh: true })).not.toThrow();
	});

	test("that was switched and is not settled may be asked to go on with that", () => {
		expect(() => ask("c1", [move("c1", { state: "stopped" })], {}, switched)).not.toThrow();
	});

	test("that there is not is named", () => {
		expect(() => rejectMove(map, [], { shard: 4, to: "c1" })).toThrow("There are shards 0 to 3; there is no 4.");
	});
});

test("a plan that was shown holds while its shards are where it begins or ends, and no longer", () => {
	const planned = (from: string, to: string) => [{ shard: 0, from, to }];
	expect(() => rejectStrayed(map, planned("c0", "c1"))).not.toThrow();
	expect(() => rejectStrayed(switched, planned("c0", "c1"))).not.toThrow();
	expect(() => rejectStrayed(switched, planned("c0", "c2"))).toThrow("neither on c0 nor on c2");
});

test("the move that is not over is changed, unless it is being canceled", () => {
	const open = move("c1", { state: "waiting" });
	expect(moveToChange(map, [move("c2", { state: "done" }), open], 0)).toBe(open);
	expect(() => moveToChange(map, [{ ...open, canceling: true }], 0)).toThrow("being canceled");
	expect(() => moveToChange(map, [move("c1", { state: "canceled" })], 0)).toThrow("no move that is under way");
});

test("a move can be canceled until its switch, and one that was refused, too: it has left copies", () => {
	const paused = move("c1", { state: "stopped" });
	const refused = move("c2", { state: "refused" });
	expect(moveToCancel(map, [refused, paused], 0)).toBe(paused);
	expect(moveToCancel(map, [refused], 0)).toBe(refused);
	expect(() => moveToCancel(map, [move("c2", { state: "done" })], 0)).toThrow("no move that could be canceled");
	for (const moves of [[paused], [move("c1", { state: "done" })]])
		expect(() => moveToCancel(switched, moves, 0)).toThrow("a move in the other direction");
});

test("shown is the move that is not over, else a refusal after which nothing else was done", () => {
	const [done, refused] = [move("c1", { state: "done" }), move("c2", { state: "refused" })];
	const later = { updatedAt: iso(NOW_MS + SECOND_MS) };
	expect(moveShown([done, move("c2")])).toMatchObject({ to: "c2" });
	expect(moveShown([done, { ...refused, ...later }])).toMatchObject({ state: "refused" });
	expect(moveShown([{ ...done, ...later }, refused])).toBeNull();
	expect(moveShown([])).toBeNull();
});
