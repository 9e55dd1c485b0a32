import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from "nats";
import { LANES } from "../../contracts/alarm.ts";
import { natsAddress } from "../../streams/address.ts";
import { batchSubject, laneFaults, streamOf } from "../../streams/lanes.ts";
import { type Inspection, syncVerdict, verdictOf } from "../../streams/preflight.ts";

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
		["max_msg_size", { max_msg_size: 256 * 1024 }],
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

describe("a nats cluster", () => {
	const sound: Inspection = { is: "sound" };
	const away: Inspection = { is: "away", why: "away" };
	const wrong: Inspection = { is: "wrong", why: "wrong" };

	test.each<[what: string, servers: Inspection[], lanes: Inspection[], is: Inspection["is"]]>([
		["is sound while one of its servers is down", [sound, away, sound], [sound, sound], "sound"],
		["is not known while none of its monitors answers", [away, away], [sound, sound], "away"],
		["is not known while a stream does not answer", [sound], [sound, away], "away"],
		["is wrong when one server is", [sound, wrong, away], [sound, sound], "wrong"],
		["is wrong when one stream is, whoever is away", [away], [away, wrong], "wrong"],
	])("%s", (_what, servers, lanes, is) => {
		expect(verdictOf(servers, lanes).is).toBe(is);
	});
});

describe("a NATS address", () => {
	test("has its credentials apart, because the client ignores those in an address", () => {
		expect(natsAddress("nats://u:p%40ss@h0:4222,nats://h1:4222")).toEqual({
			servers: ["nats://h0:4222", "nats://h1:4222"],
			user: "u",
			pass: "p@ss",
		});
	});

	test("may have none", () => {
		expect(natsAddress("nats://h0:4222")).toEqual({ servers: ["nats://h0:4222"] });
	});
});
