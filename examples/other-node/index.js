// @ts-check
import { setTimeout as pause } from "node:timers/promises";
import { ServiceBroker } from "moleculer";

/**
 * A node of another team: it sends an alarm and reads it back, over NATS. Of the alarm service it has only the types, and those
 * are for the editor: to run, this file needs moleculer and nats and nothing else.
 *
 * @typedef {import("../../contracts/actions.ts").Actions} Actions
 * @typedef {import("../../contracts/alarm.ts").InboxAlarm} InboxAlarm
 */

const NEEDED = {
	NATS_URL: "the bus, nats://host:port",
	PRODUCER_KEY: "the key of this producer",
	USER_ID: "the customer who gets the alarm",
	USER_TOKEN: "that customer's token",
};
const LIMIT_MS = 15_000;
const BETWEEN_READS_MS = 50;

/** @typedef {Record<keyof typeof NEEDED, string>} Settings */

/** What this program can explain to whoever started it; shown as one line. */
class Trouble extends Error {}

/** @param {NodeJS.ProcessEnv} env @returns {Settings} */
function readSettings(env) {
	const missing = Object.entries(NEEDED).filter(([name]) => !env[name]);
	if (missing.length > 0) {
		const lines = missing.map(([name, what]) => `  ${name}: ${what}`);
		throw new Trouble(`These are missing in the environment:\n${lines.join("\n")}`);
	}
	return /** @type {Settings} */ (/** @type {unknown} */ (env));
}

/** @param {string} natsUrl */
function makeBroker(natsUrl) {
	return new ServiceBroker({
		// Nodes see each other only within a namespace.
		namespace: "alarm",
		nodeID: `other-node-${process.pid}`,
		transporter: { type: "NATS", options: { url: natsUrl } },
		requestTimeout: 5_000,
		logger: { type: "Console", options: { level: "error" } },
	});
}

/**
 * A typed call with a credential: each action of the alarm service checks `meta.auth`, whichever way a call comes.
 *
 * @template {keyof Actions} A
 * @param {ServiceBroker} broker
 * @param {A} action
 * @param {Parameters<Actions[A]>[0]} params
 * @param {string} auth
 * @returns {Promise<ReturnType<Actions[A]>>}
 */
function call(broker, action, params, auth) {
	return broker.call(action, params, { meta: { auth } });
}

/** @param {ServiceBroker} broker @param {Settings} settings */
async function sendAndRead(broker, { PRODUCER_KEY, USER_ID, USER_TOKEN }) {
	const alarm = { userId: USER_ID, category: "notice", title: "Hello", body: `From ${broker.nodeID}` };
	const { id, via } = await asking("PRODUCER_KEY", call(broker, "alarm.create.submit", alarm, PRODUCER_KEY));
	console.log(`accepted ${id} via ${via}`);
	const read = () => asking("USER_TOKEN", call(broker, "alarm.query.list", { userId: USER_ID }, USER_TOKEN));
	const { title, body, createdAt } = await readable(id, async () => (await read()).items);
	console.log(`readable ${id}: ${title}, ${body} (${createdAt})`);
}

/**
 * Accepted means: safe in the queue. It stands in the inbox a moment later.
 *
 * @param {string} id
 * @param {() => Promise<InboxAlarm[]>} readInbox
 */
async function readable(id, readInbox) {
	const endMs = Date.now() + LIMIT_MS;
	while (Date.now() < endMs) {
		const found = (await readInbox()).find((one) => one.id === id);
		if (found !== undefined) return found;
		await pause(BETWEEN_READS_MS);
	}
	throw new Trouble(`${id} is accepted, but is not in the inbox after ${LIMIT_MS / 1_000} s.`);
}

/**
 * Between nodes an error's class is lost: its `type` is what can be compared.
 *
 * @template T
 * @param {keyof Settings} credential
 * @param {Promise<T>} answer
 */
async function asking(credential, answer) {
	try {
		return await answer;
	} catch (error) {
		const { type, message } = /** @type {{ type?: string, message: string }} */ (error);
		if (type === "UNAUTHENTICATED" || type === "FORBIDDEN")
			throw new Trouble(`${credential} was refused: ${type}. ${message}`);
		throw error;
	}
}

/**
 * @template T
 * @param {Promise<T>} work
 * @param {string} what
 * @returns {Promise<T>}
 */
function within(work, what) {
	const late = pause(LIMIT_MS, undefined, { ref: false }).then(() => {
		throw new Trouble(`${what} after ${LIMIT_MS / 1_000} s.`);
	});
	return Promise.race([work, late]);
}

async function main() {
	const settings = readSettings(process.env);
	const broker = makeBroker(settings.NATS_URL);
	// A broker tries for ever to reach its bus: without a limit a wrong address would look like a slow one.
	await within(broker.start(), `NATS does not answer at ${settings.NATS_URL}`);
	try {
		const services = broker.waitForServices(["alarm.create", "alarm.query"]);
		await within(services, "The alarm service is not on this bus");
		await sendAndRead(broker, settings);
	} finally {
		await broker.stop();
	}
}

main().catch((error) => {
	console.error(error instanceof Trouble ? error.message : error);
	process.exit(1);
});
