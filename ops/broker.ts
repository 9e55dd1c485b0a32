import { ServiceBroker, type ServiceSchema } from "moleculer";
import type { Config, ServiceName } from "../config.ts";
import brokerOptions from "../moleculer.config.ts";
import alarmConsume from "../services/alarm.consume.service.ts";
import alarmCreate from "../services/alarm.create.service.ts";
import alarmQuery from "../services/alarm.query.service.ts";
import archiveMover from "../services/archive.mover.service.ts";
import gateway from "../services/gateway.service.ts";
import shardRouter from "../services/shard.router.service.ts";

const SERVICES: Record<ServiceName, (config: Config) => ServiceSchema> = {
	gateway,
	"alarm.create": alarmCreate,
	"alarm.consume": alarmConsume,
	"alarm.query": alarmQuery,
	"shard.router": shardRouter,
	"archive.mover": archiveMover,
};

/** A broker with the services of the configuration, not started yet. */
export function makeBroker(config: Config): ServiceBroker {
	const broker = new ServiceBroker(brokerOptions(config));
	for (const name of config.services) broker.createService(SERVICES[name](config));
	return broker;
}
