import { encodeItem } from "../../domain/alarms/batch.ts";
import { newAlarmId } from "../../domain/alarms/ids.ts";
import { realNowMs } from "./now.ts";
import type { Marked, Sent } from "./oracle.ts";

/** Alarms put on the queue by hand, as if an edge had accepted them. */

export function plant(userId: string, mark: string, more: Partial<Sent> = {}, timeMs = realNowMs()): Sent {
	const alarm: Marked = { userId, category: "card", title: "t", body: "b", data: { mark } };
	return { alarm, told: { is: "ok", id: newAlarmId(userId, timeMs).toString("base64url") }, ...more };
}

/** As it stands in a batch. */
export function lineOf({ alarm, told }: Sent): string {
	const id = Buffer.from("id" in told ? (told.id ?? "") : "", "base64url");
	return encodeItem(id, { producer: "demo", acceptedAtMs: realNowMs(), alarm }).line;
}
