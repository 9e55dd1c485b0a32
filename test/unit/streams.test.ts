import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from "nats";
import { LANES } from "../../contracts/alarm.ts";
import { batchSubject, laneFaults, streamOf } from "../../streams/lanes.ts";
import { syncVerdict } from "../../streams/preflight.ts";

const sound: Partial<StreamConfig> = {
	name: "ALARM_BULK",
	storage: StorageType.File,
	retention: RetentionPolicy.Workqueue,
	discard: DiscardPolicy.New,
	max_age: 0,
};

describe("a lane", () => {
	test("has a stream and a subject of its own", () => {
		expect(LANES.map(streamOf)).toEqual(["ALARM_REALTIME", "ALARM_BULK"]);
		expect(LANES.map(batchSubject)).toEqual(["alarm.realtime.batch", "alarm.bulk.batch"]);
	});
});

describe("a lane's stream", () => {
	test("is sound with the settings that it was made with", () => {
		expect(laneFaults(sound)).toEqual([]);
	});

	test("is sound when the server leaves out an age of zero", () => {
		const { max_age: _, ...rest } = sound;
		expect(laneFaults(rest)).toEqual([]);
	});

	test.each([
		["storage", { storage: StorageType.Memory }],
		["retention", { retention: RetentionPolicy.Limits }],
		["retention", { retention: RetentionPolicy.Interest }],
		["discard", { discard: DiscardPolicy.Old }],
		["max_age", { max_age: 1 }],
		["persist_mode", { persist_mode: "async" }],
	])("has a fault in its %s: %j", (setting, wrong) => {
		expect(laneFaults({ ...sound, ...wrong })).toEqual([
			expect.stringMatching(`^stream ALARM_BULK: ${setting} is .+; it must be`),
		]);
	});

	test("tells all its faults", () => {
		expect(laneFaults({ name: "X" })).toHaveLength(3);
	});
});

describe("a nats-server", () => {
	const URL = "http://h:8222";

	test("is sound when it says that it always syncs", () => {
		expect(syncVerdict(URL, { jetstream: { config: { sync_always: true } } })).toEqual({ is: "sound" });
	});

	test.each([[{}], [{ sync_always: false }], [{ sync_always: "true" }], [{ sync_interval: 120 }]])(
		"is wrong when it syncs lazily: %j",
		(config) => {
			expect(syncVerdict(URL, { jetstream: { config } })).toEqual({
				is: "wrong",
				why: `nats-server at ${URL} syncs lazily; set jetstream { sync_interval: always }`,
			});
		},
	);

	test.each([[null], [{}], [{ jetstream: {} }], ["text"], [7]])(
		"is wrong when it runs without JetStream: %j",
		(varz) => {
			expect(syncVerdict(URL, varz)).toEqual({
				is: "wrong",
				why: `nats-server at ${URL} runs without JetStream; enable it`,
			});
		},
	);
});
