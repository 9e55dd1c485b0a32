import { shardOf } from "../../domain/alarms/ids.ts";
import { eventually } from "../support/eventually.ts";
import { realNowMs } from "../support/now.ts";
import type { Sent } from "../support/oracle.ts";
import { lineOf, plant } from "../support/plant.ts";
import type { Counted, Run, Scenario } from "../support/scenario.ts";

/** What is done to the databases. No producer may notice, no other shard may wait, and an outage makes no failure. */

const SHARDS = 16;
const DAY_MS = 86_400_000;

function expectNobodyNoticed({ unknown, refused }: Counted): void {
	expect({ unknown, refused }).toEqual({ unknown: 0, refused: 0 });
}

function expectNoFailures(counted: Counted): void {
	expectNobodyNoticed(counted);
	expect(counted.failures).toBe(0);
}

const someParked = ({ system }: Run) => eventually(async () => (await system.parked()) > 0, "something parked");
const nothingParked = ({ system }: Run) => eventually(async () => (await system.parked()) === 0, "nothing parked");

/** Waits until so many more are accepted, and all of them outside the disturbed shards are stored, while the fault lasts. */
async function othersAreStored({ system, load }: Run, isDisturbed: (shard: number) => boolean): Promise<void> {
	const before = load.answers.length;
	await load.acceptedMore(150);
	const ids = load.answers
		.slice(before)
		.flatMap(({ told }) => (told.is === "ok" ? [Buffer.from(told.id, "base64url")] : []));
	const others = ids.filter((id) => !isDisturbed(shardOf(id, SHARDS)));
	expect(others.length).toBeGreaterThan(0);
	for (const id of others) await eventually(() => system.shards.slot(id), "an alarm of another shard stored");
}

async function onCluster({ system }: Run, name: string): Promise<(shard: number) => boolean> {
	const { shards } = await system.shards.map();
	return (shard) => shards[shard]?.cluster === name;
}

const FENCED: Scenario = {
	name: "batches over two fenced shards: these are parked, the others go on",
	done: "two shards, one on each cluster, reject every write (collMod) while batches over all shards come in",
	async inject(run) {
		const { system, load, chance } = run;
		const isOnFirst = await onCluster(run, "c0");
		const all = Array.from({ length: SHARDS }, (_, shard) => shard);
		const fenced = [chance.pick(all.filter(isOnFirst)), chance.pick(all.filter((shard) => !isOnFirst(shard)))];
		await load.acceptedMore(50);
		for (const shard of fenced) await system.fence(shard);
		await someParked(run);
		await othersAreStored(run, (shard) => fenced.includes(shard));
	},
	judge: expectNoFailures,
};

const PARKED_AGAIN: Scenario = {
	name: "parked, drained and parked again within two minutes",
	done: "a shard fenced until its alarms are parked, free until they are drained, and all of it twice more within the queue's memory of message ids",
	async inject(run) {
		const { system, load, chance } = run;
		const shard = chance.between(0, SHARDS - 1);
		for (let round = 0; round < 3; round++) {
			await system.fence(shard);
			await someParked(run);
			await load.acceptedMore(100);
			await system.unfence(shard);
			await nothingParked(run);
		}
	},
	judge: expectNoFailures,
};

const FROZEN: Scenario = {
	name: "one of two mongods frozen for 60 s: the other's shards go on",
	done: "one of two mongods: SIGSTOP for 60 s under load, then SIGCONT",
	async inject(run) {
		const { system, load, last } = run;
		await load.acceptedMore(100);
		await system.mongod("c1").freeze();
		const enough = last(60_000);
		await othersAreStoredWithoutC1(run);
		await enough;
	},
	judge: expectNoFailures,
};

/** The test itself can ask the frozen one nothing: what is where is known from before. */
async function othersAreStoredWithoutC1(run: Run): Promise<void> {
	const { shards } = await run.system.shards.map();
	await othersAreStored(run, (shard) => shards[shard]?.cluster === "c1");
}

const KILLED: Scenario = {
	name: "a mongod killed under bulk inserts",
	done: "one mongod kill -9 three times under a bulk load, at random moments, away for up to three seconds",
	load: { bulkEvery: 3, bulkItems: 100, perSecond: 30 },
	async inject({ system, load, chance, last }) {
		for (let kills = 0; kills < 3; kills++) {
			await load.acceptedMore(chance.between(200, 1_500));
			await system.mongod("c0").kill();
			await last(chance.between(0, 3_000));
			await system.mongod("c0").revive();
		}
	},
	judge: expectNoFailures,
};

const CUT: Scenario = {
	name: "a network error inside a bulk insert, and inside its reply",
	done: "the worker's connections to one mongod are cut after some KB of an insert, ten times, and after some bytes of its reply, ten times",
	load: { bulkEvery: 3, bulkItems: 100, perSecond: 30 },
	async inject({ system, load, chance, last }) {
		const link = system.link("consume-1", "c0");
		for (let cuts = 0; cuts < 10; cuts++) {
			link.cutAfter("toServer", chance.between(2_000, 60_000));
			await load.acceptedMore(chance.between(50, 300));
			await link.heal();
			link.cutAfter("toClient", chance.between(100, 2_000));
			await load.acceptedMore(chance.between(50, 300));
			await link.heal();
			await last(chance.between(0, 500));
		}
	},
	judge: expectNoFailures,
};

/** Poison of every kind, among good alarms: the lines of a batch. */
function poison(planted: Sent[]): string[] {
	const add = (sent: Sent, line = lineOf(sent)) => {
		planted.push(sent);
		return line;
	};
	const failing = (mark: string, timeMs?: number) => plant("poisoned", mark, { ends: "failed" }, timeMs);
	const torn = failing("torn");
	const unsayable = failing("unsayable");
	Object.assign(unsayable.alarm.data, { a: { _bsontype: "x" } });
	const expired = plant("poisoned", "expired", { ends: "expired" });
	expired.alarm.expiresAt = new Date(realNowMs() - 1_000).toISOString();
	return [
		add(plant("poisoned", "good-1")),
		add(torn, lineOf(torn).slice(0, -10)),
		add(unsayable),
		add(failing("ahead", realNowMs() + 2 * 60_000)),
		add(failing("closed", realNowMs() - 400 * DAY_MS)),
		add(expired),
		add(plant("poisoned", "good-2")),
	];
}

const POISON: Scenario = {
	name: "poison fails alone: the rest of its batch is stored",
	done: "batches with a torn item, one that BSON cannot say, one from a clock that is ahead, one of a closed month and one that has expired, among good ones; each batch twice",
	async inject({ system, load, planted }) {
		await load.acceptedMore(50);
		const lines = poison(planted).join("\n");
		for (const _time of [1, 2]) await system.onQueue((queue) => queue.put("realtime", lines));
		await system.drain();
	},
	judge: (counted) => {
		expectNobodyNoticed(counted);
		expect(counted.failures).toBe(4);
	},
};

const NO_FAILURE_STORE: Scenario = {
	name: "the store of failures down: no failure is lost, and alarms go on",
	done: "every shard's failures reject all writes for 10 s while poison comes in",
	async inject(run) {
		const { system, load, planted, last } = run;
		const all = Array.from({ length: SHARDS }, (_, shard) => shard);
		for (const shard of all) await system.fence(shard, "failures");
		await load.acceptedMore(50);
		const lines = poison(planted).join("\n");
		await system.onQueue((queue) => queue.put("realtime", lines));
		await othersAreStored(run, () => false);
		await last(10_000);
		// Neither stored nor given up: it stands in the queue, parked or not.
		expect(await system.shards.all("failures")).toEqual([]);
		expect(Object.keys(await system.queued())).not.toEqual([]);
	},
	judge: (counted) => {
		expectNobodyNoticed(counted);
		expect(counted.failures).toBe(4);
	},
};

const AWAY_MS = process.env.FAULTS_LONG ? 600_000 : 60_000;

const AWAY: Scenario = {
	name: "a cluster away for long: no failure, and its alarms are stored when it returns",
	done: `one mongod kill -9 and away for ${AWAY_MS / 1_000} s under load`,
	load: { perSecond: 20 },
	async inject(run) {
		const { system, load, last } = run;
		await load.acceptedMore(50);
		const isOnSecond = await onCluster(run, "c1");
		await system.mongod("c1").kill();
		await othersAreStored(run, isOnSecond);
		await last(AWAY_MS);
	},
	judge: expectNoFailures,
};

const BOTH_STORES: Scenario = {
	name: "queue and both databases down: nothing is called accepted",
	done: "nats-server and both mongods kill -9 under load, away for 10 s",
	async inject({ system, load, last }) {
		await load.acceptedMore(100);
		await Promise.all([system.nats.kill(), system.mongod("c0").kill(), system.mongod("c1").kill()]);
		const downMs = performance.now();
		await last(10_000);
		const during = load.answers.filter(({ sentMs }) => sentMs > downMs);
		expect(during.length).toBeGreaterThan(0);
		expect(during.filter(({ told }) => told.is === "ok")).toEqual([]);
	},
};

const FALLBACK_DOWN: Scenario = {
	name: "the queue and one of two databases down: the other takes the outbox",
	done: "nats-server and one mongod kill -9 under load, away for 15 s; then the same with the other mongod",
	async inject({ system, load, last }) {
		for (const name of ["c0", "c1"]) {
			await load.acceptedMore(100);
			await Promise.all([system.nats.kill(), system.mongod(name).kill()]);
			await load.acceptedMore(50);
			await last(15_000);
			await system.heal();
		}
	},
	judge: ({ viaOutbox }) => expect(viaOutbox).toBeGreaterThan(0),
};

export const DATABASE_SCENARIOS: Scenario[] = [
	...[FENCED, PARKED_AGAIN, FROZEN, KILLED, CUT, POISON, NO_FAILURE_STORE, AWAY, BOTH_STORES, FALLBACK_DOWN],
];
