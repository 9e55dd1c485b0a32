import type { Chance } from "./chance.ts";
import { freeze, thaw } from "./freeze.ts";
import type { Order } from "./mover-child.ts";
import { type MoverProcess, startMover } from "./movers.ts";
import type { TestServers } from "./servers.ts";

/** Movers let go by some steps, then killed, or frozen and woken when others have been there; and servers that stand still meanwhile. */
export interface Torment {
	servers: TestServers;
	chance: Chance;
	forMs: number;
	/** What the next mover is to do. */
	order: () => Promise<Order> | Order;
	/** Mongods that may stand still for a moment, by name. */
	freezable: string[];
}

/** Tells how often movers were killed and frozen. */
export async function torment({ servers, chance, forMs, order, freezable }: Torment): Promise<[number, number]> {
	const endMs = performance.now() + forMs;
	const sleepers: MoverProcess[] = [];
	let [kills, freezes] = [0, 0];
	while (performance.now() < endMs) {
		const mover = startMover(servers, { leaseMs: 1_500, ...(await order()) });
		if (!(await goSome(mover, chance.between(0, 9)))) continue;
		if (chance.next() < 0.3) await standStill(servers, chance, chance.pick(freezable));
		if (chance.next() < 0.5) {
			await mover.kill();
			kills++;
		} else {
			await freeze(mover.pid);
			sleepers.push(mover);
			freezes++;
		}
		if (sleepers.length > 2) await wake(sleepers.shift());
	}
	for (const sleeper of sleepers) await wake(sleeper);
	return [kills, freezes];
}

/** False when it has ended by itself. */
async function goSome(mover: MoverProcess, steps: number): Promise<boolean> {
	let line = await mover.next();
	for (let left = steps; left > 0 && line.startsWith("step"); left--) {
		mover.goOn();
		line = await mover.next();
	}
	return line.startsWith("step");
}

async function wake(sleeper: MoverProcess | undefined): Promise<void> {
	if (sleeper === undefined) return;
	thaw(sleeper.pid);
	await sleeper.finish();
}

async function standStill(servers: TestServers, chance: Chance, name: string): Promise<void> {
	const pid = servers.mongods[name]?.pid ?? 0;
	await freeze(pid);
	await new Promise((done) => setTimeout(done, chance.between(100, 2_000)));
	thaw(pid);
}
