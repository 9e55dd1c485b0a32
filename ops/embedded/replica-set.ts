import { type Document, MongoClient } from "mongodb";

const NOT_YET_INITIALIZED = 94;
const TIMEOUT_MS = 5_000;

/** The only member of a replica set, and the process that must be behind its address. */
export interface Member {
	host: string;
	name: string;
	pid: number;
}

/**
 * One step towards a primary: initiates a new set, moves one that knows another address here.
 * Gives true when a majority write worked; undefined means ask again; throws while nobody answers.
 */
export async function ensureReplicaSet(member: Member): Promise<true | undefined> {
	const client = new MongoClient(`mongodb://${member.host}/?directConnection=true`, {
		serverSelectionTimeoutMS: TIMEOUT_MS,
		connectTimeoutMS: TIMEOUT_MS,
		socketTimeoutMS: TIMEOUT_MS,
	});
	try {
		return await step(member, (command) => client.db("admin").command(command));
	} finally {
		await client.close();
	}
}

async function step(member: Member, run: (command: Document) => Promise<Document>): Promise<true | undefined> {
	const { pid } = await run({ serverStatus: 1 });
	if (Number(pid) !== member.pid) throw new Error(`process ${pid} has the port, not ours`);
	const config = await currentConfig(run);
	const wanted = configFor(member, config);
	// Also seen while an old set is still starting up; mongod itself then refuses a second initiation.
	if (config === undefined) await run({ replSetInitiate: wanted });
	else if (config.members[0]?.host !== member.host) await run({ replSetReconfig: wanted, force: true });
	const { isWritablePrimary } = await run({ hello: 1 });
	if (!isWritablePrimary) return undefined;
	await run({ appendOplogNote: 1, data: { msg: "ready" }, writeConcern: { w: "majority", wtimeout: TIMEOUT_MS } });
	return true;
}

interface SetConfig extends Document {
	version: number;
	members: { host: string }[];
}

async function currentConfig(run: (command: Document) => Promise<Document>): Promise<SetConfig | undefined> {
	try {
		const { config } = await run({ replSetGetConfig: 1 });
		return config as SetConfig;
	} catch (error) {
		if ((error as { code?: number }).code === NOT_YET_INITIALIZED) return undefined;
		throw error;
	}
}

/** What the set's configuration must be so that this member is all of it. */
function configFor({ name, host }: Member, current: SetConfig | undefined): Document {
	const [first] = current?.members ?? [];
	const members = [{ ...first, _id: 0, host }];
	return { ...current, _id: name, version: (current?.version ?? 0) + 1, members };
}
