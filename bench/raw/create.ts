import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "nats";
import { newAlarmId, showId } from "../../domain/alarms/ids.ts";
import { batchSubject } from "../../streams/lanes.ts";
import { listen } from "../answering.ts";

// A bare creation server: parses the JSON, publishes, answers 202 after the PubAck. `each`: a message per alarm; `packed`: what came
// while a publish was in flight rides in the next message, two in flight at most.

const [natsUrl = "", mode = "each"] = process.argv.slice(2);
const IN_FLIGHT = 2;
const BATCH_ITEMS = 300;

const jetstream = (await connect({ servers: natsUrl })).jetstream();
const subject = batchSubject("realtime");

interface Waiting {
	line: string;
	resolve: () => void;
	reject: (error: unknown) => void;
}
const waiting: Waiting[] = [];
let inFlight = 0;

function publishPacked(line: string): Promise<void> {
	return new Promise((resolve, reject) => {
		waiting.push({ line, resolve, reject });
		pump();
	});
}

function pump(): void {
	while (inFlight < IN_FLIGHT && waiting.length > 0) {
		const batch = waiting.splice(0, BATCH_ITEMS);
		inFlight++;
		jetstream
			.publish(subject, batch.map(({ line }) => line).join("\n"))
			.then(
				() => {
					for (const { resolve } of batch) resolve();
				},
				(error: unknown) => {
					for (const { reject } of batch) reject(error);
				},
			)
			.finally(() => {
				inFlight--;
				pump();
			});
	}
}

const publish = mode === "packed" ? publishPacked : (line: string) => jetstream.publish(subject, line);

async function accept(body: string, res: ServerResponse): Promise<void> {
	const alarm = JSON.parse(body) as { userId: string };
	const id = showId(newAlarmId(alarm.userId, Date.now()));
	await publish(JSON.stringify({ id, alarm }));
	const text = JSON.stringify({ id, status: "accepted" });
	// With its length known, Node writes head and body at once.
	res.writeHead(202, { "content-type": "application/json", "content-length": text.length });
	res.end(text);
}

function handle(req: IncomingMessage, res: ServerResponse): void {
	let body = "";
	req.setEncoding("utf8");
	req.on("data", (chunk: string) => {
		body += chunk;
	});
	req.on("end", () => {
		accept(body, res).catch((error: unknown) => {
			res.writeHead(500);
			res.end(String(error));
		});
	});
}

listen(createServer(handle));
