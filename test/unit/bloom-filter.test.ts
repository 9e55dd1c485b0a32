import { newAlarmId } from "../../domain/alarms/ids.ts";
import { BloomFilter } from "../../domain/jobs/bloom-filter.ts";
import { NOW_MS } from "./samples.ts";

const idsOf = (count: number) => Array.from({ length: count }, (_, at) => newAlarmId(`u${at % 500}`, NOW_MS + at));

test("an id that comes again is always recognised", () => {
	const bloomFilter = new BloomFilter(5_000);
	const ids = idsOf(5_000);
	for (const id of ids) bloomFilter.add(id);
	expect(ids.every((id) => bloomFilter.add(id))).toBe(true);
});

test("of ids that come once, one in a thousand at most is mistaken", () => {
	const bloomFilter = new BloomFilter(50_000);
	expect(idsOf(50_000).filter((id) => bloomFilter.add(id)).length).toBeLessThan(50);
});

test("a sieve that expects nothing still works", () => {
	const bloomFilter = new BloomFilter(0);
	const [id = Buffer.alloc(20)] = idsOf(1);
	expect([bloomFilter.add(id), bloomFilter.add(id)]).toEqual([false, true]);
});
