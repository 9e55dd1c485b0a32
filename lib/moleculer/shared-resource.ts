import type { ServiceBroker } from "moleculer";

/** Resources that the services of one broker share: opened by the first, closed by the last. */

interface Held {
	value: unknown;
	users: number;
	close: () => Promise<void> | void;
}

const ofBroker = new WeakMap<ServiceBroker, Map<string, Held>>();

/** The broker's resource `name`, made at first use. `release` gives it back; calling it twice does no harm. */
export function share<T>(
	broker: ServiceBroker,
	name: string,
	make: () => { value: T; close: () => Promise<void> | void },
): { value: T; release: () => Promise<void> } {
	const all = ofBroker.get(broker) ?? new Map<string, Held>();
	ofBroker.set(broker, all);
	const held = all.get(name) ?? { ...make(), users: 0 };
	all.set(name, held);
	held.users++;
	return { value: held.value as T, release: releaser(all, name, held) };
}

function releaser(all: Map<string, Held>, name: string, held: Held): () => Promise<void> {
	let isReleased = false;
	return async () => {
		if (isReleased) return;
		isReleased = true;
		held.users--;
		if (held.users > 0) return;
		all.delete(name);
		await held.close();
	};
}
