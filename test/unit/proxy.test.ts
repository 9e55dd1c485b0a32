import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/proxy.ts";

/** Answers everything with the same, in capitals. */
let server: Server;
let heard: string;
let serverEnds: Socket[];
let proxy: FaultProxy;
let clients: Socket[];

beforeEach(async () => {
	[heard, serverEnds, clients] = ["", [], []];
	server = createServer((socket) => {
		serverEnds.push(socket);
		socket.on("error", () => undefined);
		socket.on("data", (bytes) => {
			heard += bytes;
			socket.write(String(bytes).toUpperCase());
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	proxy = await FaultProxy.start((server.address() as AddressInfo).port);
});
afterEach(() => {
	proxy.close();
	for (const socket of [...clients, ...serverEnds]) socket.destroy();
	server.close();
});

interface Client {
	socket: Socket;
	got: string;
	/** How the connection ended, when it has. */
	end: string | undefined;
}

function dial(): Client {
	const socket = connect({ port: proxy.port, host: "127.0.0.1" });
	clients.push(socket);
	const client: Client = { socket, got: "", end: undefined };
	socket.on("data", (bytes) => {
		client.got += bytes;
	});
	socket.on("error", (error: NodeJS.ErrnoException) => {
		client.end = error.code;
	});
	socket.on("close", () => {
		client.end ??= "closed";
	});
	return client;
}

async function talking(): Promise<Client> {
	const client = dial();
	client.socket.write("a");
	await eventually(() => client.got === "A", "the first answer");
	return client;
}

test("a healthy proxy carries both ways, and the end of a connection", async () => {
	const client = await talking();
	expect(proxy.connections).toBe(1);
	client.socket.end();
	await eventually(() => client.end === "closed");
	await eventually(() => proxy.connections === 0, "the connection forgotten");
});

test("what is delayed arrives in its order, and not before its time", async () => {
	const client = await talking();
	const startMs = performance.now();
	proxy.delay("toServer", 50);
	client.socket.write("b");
	setImmediate(() => client.socket.write("c"));
	await eventually(() => client.got === "ABC", "all answers");
	expect(performance.now() - startMs).toBeGreaterThanOrEqual(49);
});

test("dropped on the way to the client: the server hears, the client hears nothing, and both stay connected", async () => {
	const client = await talking();
	proxy.drop("toClient");
	client.socket.write("b");
	await eventually(() => heard === "ab", "the server's ear");
	serverEnds[0]?.destroy();
	await eventually(() => serverEnds[0]?.closed, "the server's end closed");
	expect(client).toMatchObject({ got: "A", end: undefined });
	await proxy.heal();
	await eventually(() => client.end !== undefined, "the end of a connection with a hole");
	expect(client.got).toBe("A");
});

test("dropped on the way to the server: it hears nothing, and is told of no end", async () => {
	const client = await talking();
	proxy.drop("toServer");
	client.socket.write("b");
	client.socket.end();
	serverEnds[0]?.write("!");
	await eventually(() => client.got === "A!", "the other way");
	expect(heard).toBe("a");
	expect(serverEnds[0]?.readableEnded).toBe(false);
	await proxy.heal();
	await eventually(() => serverEnds[0]?.closed, "the server told");
});

test("cut after so many bytes: those arrive, the rest does not", async () => {
	const client = await talking();
	proxy.cutAfter("toServer", 3);
	client.socket.write("bcdefg");
	await eventually(() => client.end !== undefined, "the cut");
	await eventually(() => heard === "abcd", "the part before the cut");
	const other = dial();
	other.socket.write("xyz");
	await eventually(() => other.got === "XYZ", "a new connection within its bytes");
});

test("refused: new connections find nobody, those that run go on, and healed all is well", async () => {
	const client = await talking();
	proxy.refuse();
	const late = dial();
	await eventually(() => late.end === "ECONNREFUSED", "the refusal");
	client.socket.write("b");
	await eventually(() => client.got === "AB", "the answer to the old one");
	await proxy.heal();
	expect((await talking()).got).toBe("A");
});

test("killed: every connection ends, on both sides", async () => {
	const [one, other] = [await talking(), await talking()];
	proxy.killAll();
	await eventually(() => one.end !== undefined && other.end !== undefined, "both ended");
	await eventually(() => serverEnds.every(({ closed }) => closed), "both ended on the server");
});

test("a server that is away ends the connection", async () => {
	server.close();
	const client = dial();
	await eventually(() => client.end !== undefined, "the end");
});
