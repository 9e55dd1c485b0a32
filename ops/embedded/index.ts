/** Real servers on free ports of 127.0.0.1, for `npm start` and for tests. */
export { type FindOptions, findServer, type ServerName } from "./find.ts";
export { type MongodOptions, type RunningMongod, startMongod } from "./mongod.ts";
export { type NatsOptions, type RunningNats, startNats } from "./nats.ts";
