/** One way to break a promise: a change of the source, and the quick tests that have to notice it. */
export interface Mutant {
	name: string;
	/** What no longer holds. */
	promise: string;
	file: string;
	/** Stands exactly once in the file. */
	find: string;
	replace: string;
	suite: Suite;
}

/** Tests, as jest selects them. */
export interface Suite {
	project: "unit" | "integration";
	/** A pattern of paths. */
	paths: string;
	/** A pattern of test names; all of the suite without it. */
	tests?: string;
}

const parking = (tests: string): Suite => ({ project: "integration", paths: "integration/parking", tests });
const OUTBOX: Suite = { project: "integration", paths: "integration/outbox", tests: "while the queue stands still" };
const RELAY: Suite = { project: "integration", paths: "integration/relay" };
const erase = (tests: string): Suite => ({ project: "integration", paths: "integration/erase.test", tests });
const VERDICTS: Suite = { project: "unit", paths: "unit/verdicts" };

const archive = (tests: string): Suite => ({ project: "integration", paths: "integration/archive-month", tests });

export const MUTANTS: Mutant[] = [
	{
		name: "ack before the write",
		promise: "a batch leaves the queue only when all of it is safe",
		file: "streams/worker.ts",
		find: "			const safe = await this.#handle(",
		replace: "			for (const message of messages) message.ack();\n			const safe = await this.#handle(",
		suite: parking("while every database stands still"),
	},
	{
		name: "an empty error list is success",
		promise: "what does not add up is unknown",
		file: "domain/verdicts.ts",
		find: "if (!addsUp(reply, errors, count))",
		replace: "if (errors.length > 0 && !addsUp(reply, errors, count))",
		suite: VERDICTS,
	},
	{
		name: "a fence ignored",
		promise: "what a fence rejects is not stored",
		file: "domain/verdicts.ts",
		find: 'if (code === FENCED) return "fenced";',
		replace: 'if (code === FENCED) return "stored";',
		suite: parking("two fenced shards"),
	},
	{
		name: "no parking",
		promise: "a shard that is down holds up no other",
		file: "mixins/storing.ts",
		find: "if (streams.jetstream === null) return false;",
		replace: "if (streams.jetstream !== undefined) return false;",
		suite: parking("two fenced shards"),
	},
	{
		name: "parking that only says so",
		promise: "a batch leaves the queue only when all of it is safe",
		file: "mixins/storing.ts",
		find: "		await publishParked(streams.jetstream, lane, shard, encodeBatch(batch), sinceMs);\n",
		replace: "		[publishParked, encodeBatch, sinceMs];\n",
		suite: parking("two fenced shards"),
	},
	{
		name: "reuse of the message id when parking",
		promise: "what is parked again is not taken for a duplicate",
		file: "streams/publisher.ts",
		find: "		timeout: PUBLISH_MS,\n	});\n	if (ack.duplicate) throw",
		replace: '		timeout: PUBLISH_MS,\n		msgID: "parked-" + shard,\n	});\n	if (!ack) throw',
		suite: parking("parked again"),
	},
	{
		name: "a failure acked without its row",
		promise: "every failure is listed",
		file: "stores/intake.ts",
		find: '	if (row !== "stored" && row !== "taken") return comesAgain(',
		replace: '	if (row === "refused") return comesAgain(',
		suite: parking("failure whose row cannot be stored"),
	},
	{
		name: "no neighbouring-day check",
		promise: "one key makes one alarm, also over midnight",
		file: "stores/keys.ts",
		find: "	if (before.size === 0 && after.size === 0) return [];",
		replace: "	if (before.size >= 0 && after.size >= 0) return [];",
		suite: { project: "integration", paths: "integration/keys", tests: "both sides of midnight|nightly batch" },
	},
	{
		name: "no keys",
		promise: "one key makes one alarm",
		file: "stores/keys.ts",
		find: "	if (claims.length === 0) return { ready: decisions, held };",
		replace: "	if (claims.length >= 0) return { ready: decisions, held };",
		suite: { project: "integration", paths: "integration/idempotency", tests: "makes one alarm" },
	},
	{
		name: "a key day dropped a day early",
		promise: "a key holds for 24 hours at least",
		file: "domain/holdings.ts",
		find: "dayStartMs(addDays(day, 2)) <= watermarkMs",
		replace: "dayStartMs(addDays(day, 1)) <= watermarkMs",
		suite: { project: "unit", paths: "unit/holdings" },
	},
	{
		name: "a redrive replaces any slot",
		promise: "only what failed is sent again",
		file: "stores/redrive.ts",
		find: 'const q = { _id: slot._id, outcome: "failed" };',
		replace: "const q = { _id: slot._id };",
		suite: { project: "integration", paths: "integration/failures", tests: "leaves an alarm" },
	},
	{
		name: "no outbox",
		promise: "with the queue away alarms are accepted all the same",
		file: "lib/acceptance.ts",
		find: "			await disks.save(batch);",
		replace: "			throw unknown();",
		suite: OUTBOX,
	},
	{
		name: "an outbox that only says so",
		promise: "202 means that a disk has it",
		file: "lib/acceptance.ts",
		find: "			await disks.save(batch);",
		replace: "			disks.save;",
		suite: OUTBOX,
	},
	{
		name: "relayed rows removed before the PubAck",
		promise: "a row leaves the outbox only when the queue has it",
		file: "lib/relay.ts",
		find: "			await deeds.publish(row);\n			published.push(row._id);",
		replace: "			published.push(row._id);\n			await deeds.publish(row);",
		suite: RELAY,
	},
	{
		name: "a relay that removes what another has claimed",
		promise: "a frozen relay that wakes does no harm",
		file: "stores/outbox.ts",
		find: "q: { _id: { $in: ids }, token }, limit: 0",
		replace: "q: { _id: { $in: ids } }, limit: 0",
		suite: RELAY,
	},
	{
		name: "two relays at once",
		promise: "one relay at a time",
		file: "stores/lease.ts",
		find: '$or: [{ $eq: ["$holder", holder] }, IS_OVER]',
		replace: "$or: [true]",
		suite: RELAY,
	},
	{
		name: "discard old",
		promise: "a full stream refuses, and throws nothing away",
		file: "streams/lanes.ts",
		find: "discard: DiscardPolicy.New,",
		replace: "discard: DiscardPolicy.Old,",
		suite: { project: "integration", paths: "integration/accepting", tests: "a full stream refuses" },
	},
	{
		name: "a stream that discards the old is taken",
		promise: "a server with a wrong setting is refused",
		file: "streams/lanes.ts",
		find: 'must(config.discard === DiscardPolicy.New, "discard"',
		replace: 'must(true, "discard"',
		suite: { project: "integration", paths: "integration/accepting", tests: "discards the old" },
	},
	{
		name: "a lazy nats-server is taken",
		promise: "what is acknowledged survives a power cut",
		file: "streams/preflight.ts",
		find: "if (jetstream.config.sync_always === true)",
		replace: "if (jetstream.config)",
		suite: { project: "integration", paths: "integration/accepting", tests: "syncs lazily" },
	},
	{
		name: "the low-watermark ignores the outbox",
		promise: "an accepted alarm is never called unknown",
		file: "services/alarm.consume.service.ts",
		find: "lowWatermark([...queued, ...saved], askedMs)",
		replace: "lowWatermark(queued, askedMs)",
		suite: { project: "integration", paths: "integration/watermark", tests: "outbox" },
	},
	{
		name: "the low-watermark takes what is parked by the time of its parking",
		promise: "an accepted alarm is never called unknown",
		file: "streams/backlog.ts",
		find: "since.push(sinceOfSubject(subject) ?? Number.POSITIVE_INFINITY);",
		replace: "sinceOfSubject(subject);",
		suite: { project: "integration", paths: "integration/watermark", tests: "parked" },
	},
	{
		name: "no verification",
		promise: "the source is dropped only after a verified equal copy",
		file: "stores/archive-month.ts",
		find: "		this.#refuseIfWrong(await copy.verify());\n",
		replace: "		await copy.verify();\n",
		suite: archive("not equal is refused"),
	},
	{
		name: "no fence",
		promise: "nothing is written to a source behind the last look at its changes",
		file: "stores/archive-month.ts",
		find: "		await setFence(this.#deps.clusters, source);\n",
		replace: "",
		suite: archive("neither inserts nor updates"),
	},
	{
		name: "changes are not caught up",
		promise: "marks made during the copy are kept",
		file: "stores/month-copy.ts",
		find: "		await recopy(this.#deps, from, this.#copy, ids);\n",
		replace: "",
		suite: archive("what is written to the month"),
	},
	{
		name: "no settling",
		promise: "what slips through a fence that was lifted is in the archive",
		file: "stores/archive-month.ts",
		find: "		await copy.settle(this.#away(source.uuid));\n",
		replace: "",
		suite: archive("slips through"),
	},
	{
		name: "an epoch that is over still changes the map",
		promise: "a frozen mover that wakes does no harm",
		file: "domain/duties.ts",
		find: "	return shardPlace(map, shard).duty?.epoch === epoch;",
		replace: "	return epoch > 0 && shardPlace(map, shard).duty !== undefined;",
		suite: { project: "unit", paths: "unit/duties" },
	},
	{
		name: "a copy keeps its name when it is taken over",
		promise: "a frozen mover that wakes does no harm",
		file: "stores/archive-copies.ts",
		find: "	const collection = copyOf(place.month, epoch);\n	if (await renameIn(place, copy, collection)) ",
		replace: "	const collection = copy.name;\n	if (epoch > 0) ",
		suite: archive("has it alone"),
	},
	{
		name: "a source is dropped whatever has become of its copy",
		promise: "the source is dropped only while its copy is where the map says",
		file: "stores/away.ts",
		find: "	await mustBeArchived(clusters, duty, name);\n",
		replace: "",
		suite: archive("while its copy is not where"),
	},
	{
		name: "earlier copies are looked for when the map may have passed to another",
		promise: "a frozen mover that wakes does no harm",
		file: "stores/archive-month.ts",
		find: `		const earlier = await this.#lookBack();
		// The shard is ours, says the map: what was found is nobody else's, now or later.
		await this.#duty.setPlace(this.#name, { tier: "moving", uuid: place.uuid });
`,
		replace: `		await this.#duty.setPlace(this.#name, { tier: "moving", uuid: place.uuid });
		const earlier = await this.#lookBack();
`,
		suite: archive("leaves the archive alone"),
	},
	{
		name: "a copy is looked for where new ones are put",
		promise: "archive clusters may be added while a month is on its way",
		file: "stores/archive-month.ts",
		find: 'archive.get(begun?.to ?? "") ?? ',
		replace: "",
		suite: archive("stays where it is"),
	},
	{
		name: "a source that was not settled is dropped",
		promise: "the source is dropped only after a verified equal copy",
		file: "stores/away.ts",
		find: "away?.settled === true && ",
		replace: "away !== undefined && ",
		suite: archive("kept, however old"),
	},
	{
		name: "fences stay",
		promise: "a fence that nobody alive stands for is lifted",
		file: "stores/fence.ts",
		find: "		await liftFence(clusters, target).catch(unlessMoved);\n",
		replace: "",
		suite: archive("nobody alive stands for"),
	},
	{
		name: "the current month may be archived",
		promise: "what is written to is never archived or dropped",
		file: "stores/archive-month.ts",
		find: "	if (month >= monthOf(nowMs))",
		replace: "	if (month > monthOf(nowMs))",
		suite: archive("neither archived nor dropped"),
	},
	{
		name: "a plan ignores the low-watermark",
		promise: "nothing is dropped that may still be on its way",
		file: "domain/archive-plan.ts",
		find: "facts.lowWatermarkMs === null || monthEndMs(month) >= facts.lowWatermarkMs",
		replace: "facts.lowWatermarkMs === Number.NaN",
		suite: { project: "unit", paths: "unit/archive-plan" },
	},
	{
		name: "a plan believes any clock",
		promise: "a clock that jumps moves nothing",
		file: "domain/archive-plan.ts",
		find: "	if (trustClock) return null;",
		replace: "	if (newestMs !== undefined) return null;",
		suite: { project: "unit", paths: "unit/archive-plan" },
	},
	{
		name: "an archive that is silent fails the page",
		promise: "recent pages are read while the archive is down",
		file: "stores/inbox.ts",
		find: "	if (ended === null) throw",
		replace: '	if (ended === null || target.tier === "archive") throw',
		suite: { project: "integration", paths: "integration/archive-reading" },
	},
	{
		name: "one sweep is enough",
		promise: "what was on its way when a customer was erased is removed, too",
		file: "stores/erase.ts",
		find: '	yield* sweep(erase, ["taken again", "ledgers swept again", "swept again"], hasArrived);\n',
		replace: "",
		suite: erase("removed by the second sweep"),
	},
	{
		name: "an erase that does not wait",
		promise: "what was on its way when a customer was erased is removed, too",
		file: "domain/erase.ts",
		find: "watermarkMs > startedAtMs + MARGIN_MS",
		replace: "watermarkMs > startedAtMs - MARGIN_MS",
		suite: erase("is waited for"),
	},
	{
		name: "erased by the hash alone",
		promise: "a customer whose hash is the same keeps its alarms",
		file: "domain/erase.ts",
		find: "(row.userId === userId || row.outcome !== undefined)",
		replace: "(row.userId !== undefined || row.outcome !== undefined)",
		suite: erase("every byte of everybody else's"),
	},
	{
		name: "erased without regard to what may still be written",
		promise: "nothing is called lost because a customer was erased",
		file: "domain/erase.ts",
		find: "Math.min(acceptedMs, writtenMs) < beforeMs",
		replace: "Math.min(acceptedMs, writtenMs, beforeMs) <= beforeMs",
		suite: erase("what came since"),
	},
	{
		name: "a ledger row overwritten",
		promise: "two erases lose no change of a ledger row that both are in",
		file: "stores/erase.ts",
		find: "{ _id: now._id, ids: now.ids }",
		replace: "{ _id: now._id }",
		suite: erase("two customers at once"),
	},
	{
		name: "any number of months is dropped",
		promise: "many drops at once are confirmed",
		file: "domain/archive-plan.ts",
		find: "if (months <= mostDrops || confirmDrops === months) return judged;",
		replace: "if (months <= mostDrops || confirmDrops !== months) return judged;",
		suite: { project: "unit", paths: "unit/archive-plan" },
	},
	{
		name: "the newest stored month is no month in use",
		promise: "a clock that is a little off touches no month that is written to",
		file: "domain/archive-plan.ts",
		find: "monthOf(trustClock ? nowMs : Math.min(nowMs, newestMs ?? nowMs))",
		replace: "monthOf(trustClock ? nowMs : nowMs)",
		suite: { project: "unit", paths: "unit/archive-plan" },
	},
	{
		name: "a run's record is written whoever has it",
		promise: "what an operator has stopped stays stopped",
		file: "mixins/runs.mixin.ts",
		find: "state: { $in: states }, ...(node !== undefined",
		replace: "...(node !== undefined",
		suite: { project: "integration", paths: "integration/movers", tests: "the record of a run" },
	},
	{
		name: "sources go on a doubtful clock",
		promise: "a clock that jumps drops no source in its time of grace",
		file: "stores/mover.ts",
		find: "if (plan.refused === null) await this.#tidy",
		replace: "await this.#tidy",
		suite: { project: "integration", paths: "integration/movers" },
	},
	{
		name: "a stop waits for its news",
		promise: "a run that was stopped is left although the news of it was lost",
		file: "stores/run-work.ts",
		find: "> WRITE_MS) await this.check();",
		replace: "> WRITE_MS * 1e9) await this.check();",
		suite: { project: "integration", paths: "integration/archive-mover" },
	},
	{
		name: "a cluster that was away at first is given up",
		promise: "a process finds a database that comes later",
		file: "stores/cluster.ts",
		find: "		await this.#client.connect();\n",
		replace: "",
		suite: { project: "integration", paths: "integration/cluster.test", tests: "first asked" },
	},
];
