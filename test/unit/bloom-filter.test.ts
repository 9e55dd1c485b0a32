import { newAlarmId } from "../../domain/alarms/ids.ts";
import { IdSieve } from "../../domain/jobs/bloom-filter.ts";
import { NOW_MS } from "./samples.ts";

const idsOf = (count: number) => Array.from({ length: count }, (_, at) => newAlarmId(`u${at % 500}`, NOW_MS + at));

test("an id that comes again is always recognised", () => {
	const sieve = new IdSieve(5_000);
	const ids = idsOf(5_000);
	for (const id of ids) sieve.add(id);
	expect(ids.every((id) => sieve.add(id))).toBe(true);
});

test("of ids that come once, one in a thousand at most is mistaken", () => {
	const sieve = new IdSieve(50_000);
	expect(idsOf(50_000).filter((id) => sieve.add(id)).length).toBeLessThan(50);
});

test("a sieve that expects nothing still works", () => {
	const sieve = new IdSieve(0);
	const [id = Buffer.alloc(20)] = idsOf(1);
	expect([sieve.add(id), sieve.add(id)]).toEqual([false, true]);
});
